import json

import pytest

from nnunet_ext.trainers.record.config_file import changed_settings, write_config

BEGIN = {"epoch": 0, "command": "first"}
START = {**BEGIN, "changed_settings": {}}
LATER = {"epoch": 7, "changed_settings": {}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "training_config.json"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_resumed_training_keeps_the_first_record_and_adds_its_start(path):
    write_config(path, lambda: {"network": "first"}, BEGIN, {})
    written = write_config(path, lambda: {"network": "second"}, {"epoch": 7}, {})
    assert read(path) == written.content == {"network": "first", "starts": [START, LATER]}
    assert written.remark is None


def test_a_training_that_begins_replaces_the_record_of_another(path):
    write_config(path, lambda: {"network": "first"}, BEGIN, {})
    write_config(path, lambda: {"network": "second"}, BEGIN, {})
    assert read(path) == {"network": "second", "starts": [START]}


def test_a_resumed_training_without_a_record_begins_one_and_says_so(path):
    written = write_config(path, lambda: {"network": "late"}, {"epoch": 7}, {})
    assert read(path) == {"network": "late", "starts": [LATER]}
    assert "There was no training_config.json" in written.remark


@pytest.mark.parametrize("junk", ["{", "[]", '{"starts": 1}', "{}"])
def test_a_damaged_record_is_put_aside_and_not_lost(path, junk):
    path.write_text(junk, encoding="utf-8")
    written = write_config(path, lambda: {"network": "late"}, {"epoch": 7}, {})
    assert read(path)["network"] == "late"
    assert path.with_name("training_config_damaged.json").read_text(encoding="utf-8") == junk
    assert "training_config_damaged.json" in written.remark


def test_a_record_that_cannot_be_read_now_is_left_as_it_is(path, monkeypatch):
    write_config(path, lambda: {"network": "first"}, BEGIN, {})
    with monkeypatch.context() as patch, pytest.raises(PermissionError):
        patch.setattr(type(path), "read_bytes", lambda *_, **__: (_ for _ in ()).throw(PermissionError()))
        write_config(path, lambda: {"network": "late"}, {"epoch": 7}, {})
    assert read(path) == {"network": "first", "starts": [START]}


def now(**values):
    return {name: {"value": value, "source": f"option -{name}"} for name, value in values.items()}


def test_changed_settings_are_those_of_another_value_than_at_the_start_before(path):
    write_config(path, lambda: {"settings": now(patience=None, n_epochs=10)}, BEGIN, now())
    for epoch, patience in ((3, 7), (3, None), (5, None)):
        write_config(path, dict, {"epoch": epoch}, now(patience=patience, n_epochs=10, new=2))
    first, *changed = [start["changed_settings"] for start in read(path)["starts"]]
    assert first == {}
    assert changed == [
        {"patience": {"was": None, "now": 7, "source": "option -patience"}},
        {"patience": {"was": 7, "now": None, "source": "option -patience"}},
        {},
    ]


def test_a_pair_of_numbers_is_the_same_setting_when_it_is_read_back():
    assert changed_settings({"betas": [0.9, 0.99]}, now(betas=(0.9, 0.99))) == {}
