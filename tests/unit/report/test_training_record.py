"""The records of trainings that a report reads."""

import json

from nnunet_ext.report.training_record import leaked_subjects, recorded_settings, used_in_training


def test_settings_and_command_are_those_of_the_last_start(tmp_path):
    content = {
        "command": "first",
        "settings": {
            "patience": {"value": None, "source": "default"},
            "n_epochs": {"value": 10, "source": "default"},
        },
        "starts": [
            {"epoch": 0, "command": "first", "changed_settings": {}},
            {
                "epoch": 4,
                "command": "second",
                "changed_settings": {"patience": {"was": None, "now": 7, "source": "option -patience"}},
            },
            {"epoch": 6, "command": "third", "changed_settings": {"patience": {"was": 7, "now": 9}}},
            {"epoch": 8, "command": "fourth", "changed_settings": "odd"},
        ],
    }
    (tmp_path / "training_config.json").write_text(json.dumps(content), encoding="utf-8")
    found = recorded_settings(tmp_path)
    assert (found["patience"].text, found["patience"].is_default) == ("9 (7 before epoch 6)", False)
    assert found["n_epochs"].is_default
    assert used_in_training(tmp_path, "2d")["command"] == "fourth"


def test_subjects_on_both_sides_of_a_training_are_those_that_it_recorded(tmp_path):
    path = tmp_path / "training_config.json"
    for fold, dataset, leaked in (
        (0, {"subjects_on_both_sides": ["p1"]}, ["p1"]),
        ("all", {"subjects_on_both_sides": ["p1"]}, []),
        (0, {}, []),
        (0, None, []),
    ):
        path.write_text(json.dumps({"fold": fold, "dataset": dataset}), encoding="utf-8")
        assert leaked_subjects(tmp_path) == leaked
    assert leaked_subjects(tmp_path / "none") == []
