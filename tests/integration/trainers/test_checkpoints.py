"""Checkpoints on disk: whole or not at all, and which of two is further."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from nnunet_ext.errors import NnunetExtError, NotReplaced
from nnunet_ext.trainers.policies.continuation import FoldCases

torch = pytest.importorskip("torch", reason="torch cannot be imported")
checkpoints = pytest.importorskip("nnunet_ext.trainers.checkpoints")
files = pytest.importorskip("nnunet_ext.networks.checkpoint_file")
Progress = checkpoints.Progress


def content(epoch, started=100.0):
    return {
        "network_weights": {"weight": torch.full((3, 2), float(epoch))},
        "logging": {"epoch_start_timestamps": [started + i for i in range(epoch)]},
        "current_epoch": epoch,
        "nnunet_ext": {"version": "0"},
    }


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "checkpoint.pth"
    files.write_checkpoint(content(3), path)
    back = files.read_checkpoint(path)
    assert torch.equal(back.pop("network_weights")["weight"], torch.full((3, 2), 3.0))
    assert back == {key: value for key, value in content(3).items() if key != "network_weights"}


def test_a_write_that_is_cut_off_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pth"
    files.write_checkpoint(content(3), path)

    def die(_, target):
        target.write_bytes(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "save", die)
        files.write_checkpoint(content(4), path)
    assert files.read_checkpoint(path)["current_epoch"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_a_disk_that_takes_no_more_is_told_as_such(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows limits no sizes of files")
    path = tmp_path / "checkpoint_final.pth"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="is the disk full") as caught:
            files.write_checkpoint({"network_weights": torch.zeros(9999)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path) and list(tmp_path.iterdir()) == []


def test_a_summary_says_how_far_and_what_was_recorded(tmp_path):
    path = tmp_path / "checkpoint.pth"
    files.write_checkpoint(content(3), path)
    assert checkpoints.read_checkpoint_summary(path) == checkpoints.CheckpointSummary(
        path, Progress(100.0, 3), checkpoints.CheckpointRecord(version="0")
    )


def test_a_record_reads_back_the_same_but_for_its_weights():
    split = FoldCases(("a", "b"), ("c",))
    begun = checkpoints.BegunEpoch(3, (0.5, 0.25), 1.5)
    whole = checkpoints.CheckpointRecord(
        version="1", settings={"n_epochs": 5}, stop_reason="patience: x", counted_from=2, split=split,
        versions={"torch": "2"}, random_states={"python": 1}, begun_epoch=begun, n_averaged=7,
        trained_weights={"w": 1},
    )  # fmt: skip
    plain = whole.plain()
    assert plain["epoch_begun"] == {"epoch": 3, "losses": [0.5, 0.25], "elapsed_s": 1.5}
    assert plain["split"]["val"] == ["c"] and plain["trained_weights"] == {"w": 1}
    assert checkpoints.CheckpointRecord.of(plain) == replace(whole, trained_weights=None)


def test_a_record_has_no_keys_for_what_is_missing():
    plain = checkpoints.CheckpointRecord(version="1").plain()
    assert plain == {"version": "1", "settings": {}, "stop_reason": None, "counted_from": 0}
    assert checkpoints.CheckpointRecord.of({}) == checkpoints.CheckpointRecord()


def test_there_is_no_summary_of_no_file(tmp_path):
    assert checkpoints.read_checkpoint_summary(tmp_path / "none.pth") is None


@pytest.mark.parametrize("torn", [b"", b"PK\x03\x04", b"\x80\x02}q\x00", b"text"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path, torn):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(torn)
    with pytest.raises(
        NnunetExtError, match=r"checkpoint\.pth cannot be read as a checkpoint: .*Move it away"
    ):
        checkpoints.read_checkpoint_summary(path)


def test_of_one_training_the_later_epoch_is_further():
    assert Progress(100.0, 3) < Progress(100.0, 4)


def test_of_two_trainings_the_one_begun_later_is_further():
    assert Progress(100.0, 1000) < Progress(200.0, 1)


def test_a_training_without_history_is_before_every_other():
    assert Progress.of({}, 0) == Progress(-math.inf, 0) < Progress(0.0, 0)


def test_a_kept_file_survives_its_deletion(tmp_path):
    path = tmp_path / "checkpoint.pth"
    path.write_text("last")
    with checkpoints.kept(path):
        path.unlink()
    assert path.read_text() == "last"


def test_keeping_no_file_makes_none(tmp_path):
    with checkpoints.kept(tmp_path / "none.pth"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.fixture
def held(monkeypatch):
    """Windows, where checkpoint_latest.pth is held open until the list is emptied."""
    names, replace = ["checkpoint_latest.pth"], os.replace

    def refuse(source, target):
        if Path(target).name in names:
            raise PermissionError(13, "Access is denied", str(source), 5, str(target))
        replace(source, target)

    monkeypatch.setattr("nnunet_ext.files.whole.os.replace", refuse)
    return names


def test_a_checkpoint_that_is_held_open_keeps_the_newer_one_beside_it_until_it_is_read(tmp_path, held):
    path = tmp_path / "checkpoint_latest.pth"
    held.clear()
    files.write_checkpoint(content(3), path)
    held.append(path.name)
    with pytest.raises(NotReplaced):
        files.write_checkpoint(content(4), path)
    assert checkpoints.read_checkpoint_summary(path).progress.epoch == 3
    held.clear()
    assert checkpoints.read_checkpoint_summary(path).progress.epoch == 4
    assert list(tmp_path.iterdir()) == [path]


def test_a_later_checkpoint_replaces_the_one_that_was_kept_beside(tmp_path, held):
    path = tmp_path / "checkpoint_latest.pth"
    path.touch()
    with pytest.raises(NotReplaced):
        files.write_checkpoint(content(3), path)
    held.clear()
    files.write_checkpoint(content(4), path)
    assert checkpoints.read_checkpoint_summary(path).progress.epoch == 4
    assert list(tmp_path.iterdir()) == [path]


def test_a_training_goes_on_where_its_checkpoint_is_held_open(lab, held):
    lab.variables(n_epochs=2, save_every=1)
    fold = lab.fold("nnUNetTrainerCustomEpochs")
    fold.mkdir(parents=True)
    (fold / "checkpoint_latest.pth").write_bytes(b"of another program")
    lab.train()
    log = lab.log("nnUNetTrainerCustomEpochs")
    assert "The training goes on." in log and "Training done." in log
    assert files.read_checkpoint(fold / "checkpoint_final.pth")["current_epoch"] == 2
