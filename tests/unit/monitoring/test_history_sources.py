import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from factories import LABELS
from training_logs import best_stated, epochs, write_checkpoint, write_history_csv

from nnunet_ext.monitoring.history_sources import read_checkpoint_history, read_history_csv
from nnunet_ext.nnunet.history import Epoch, History


def logging(some, number=np.float64):
    """As nnU-Net's logger holds a history."""
    return {
        "mean_fg_dice": [np.float32(0.5) for _ in some],
        "ema_fg_dice": [number("nan") if one.average is None else number(one.average) for one in some],
        "dice_per_class_or_region": [[np.nan if d is None else number(d) for d in one.dice] for one in some],
        "train_losses": [number(one.train_loss) for one in some],
        "val_losses": [number(one.val_loss) for one in some],
        "lrs": [one.learning_rate for one in some],
        "epoch_start_timestamps": [1000.0 * i for i in range(len(some))],
        "epoch_end_timestamps": [1000.0 * i + one.seconds for i, one in enumerate(some)],
    }


def content(some, **more):
    return {"network_weights": OrderedDict(a=1), "logging": logging(some), "current_epoch": len(some), **more}


def test_a_history_csv_gives_what_was_written_with_any_label_name(tmp_path):
    some = best_stated(epochs(4, n_labels=3))
    names = ("left_ventricle", "mean", "average, of all")
    source = read_history_csv(write_history_csv(tmp_path / "history.csv", some, names))
    assert source.epochs == tuple(some)
    assert source.labels == names and not source.notes


def test_a_row_that_is_being_written_is_left_out(tmp_path):
    path = write_history_csv(tmp_path / "history.csv", epochs(3), ("a", "b"))
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        assert read_history_csv(path).epochs == tuple(epochs(3)[: max(0, data[:cut].count(b"\n") - 1)])


def test_the_later_of_two_rows_of_one_epoch_counts(tmp_path):
    rows = [*epochs(4), *epochs(1, first=2, shift=0.1)]
    source = read_history_csv(write_history_csv(tmp_path / "history.csv", rows, ("a", "b")))
    assert source.epochs == (*epochs(2), *epochs(1, first=2, shift=0.1))


def test_a_row_that_cannot_be_read_gives_a_note(tmp_path):
    path = write_history_csv(tmp_path / "history.csv", epochs(3), ("a", "b"))
    path.write_text(path.read_text(encoding="utf-8").replace("\n1,", "\none,"), encoding="utf-8")
    source = read_history_csv(path)
    assert [epoch.number for epoch in source.epochs] == [0, 2]
    assert "line 3" in source.notes[0]


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"\n\n"])
def test_a_table_without_the_columns_gives_a_note(tmp_path, data):
    path = tmp_path / "history.csv"
    path.write_bytes(data)
    source = read_history_csv(path)
    assert source.epochs == () and len(source.notes) == 1


@pytest.mark.parametrize("number", [np.float64, np.float32, float])
def test_a_checkpoint_gives_the_history_that_it_holds(tmp_path, number):
    some = [
        Epoch(
            number=i,
            train_loss=0.5,
            val_loss=0.25,
            dice=(0.5, None),
            learning_rate=0.01,
            seconds=2.0,
            average=0.5,
        )
        for i in range(3)
    ]
    path = write_checkpoint(
        tmp_path / "checkpoint_final.pth", {**content(some), "logging": logging(some, number)}
    )
    assert read_checkpoint_history(path).epochs == tuple(some)


def test_a_checkpoint_names_labels_length_and_stop(tmp_path):
    record = {"settings": {"n_epochs": 40}, "stop_reason": "patience: x"}
    init = {"dataset_json": {"labels": LABELS, "file_ending": ".nii.gz"}}
    some = epochs(2)
    path = write_checkpoint(tmp_path / "c.pth", content(some, nnunet_ext=record, init_args=init))
    source = read_checkpoint_history(path)
    assert source.labels == tuple(LABELS)[1:]
    assert (source.planned, source.stop_reason) == (40, "patience: x")


def test_an_average_poisoned_by_nan_goes_on_as_that_of_a_log_does(tmp_path):
    some = [
        Epoch(
            number=0, train_loss=0.5, val_loss=0.5, dice=(0.5,), learning_rate=0.01, seconds=2.0, average=0.5
        ),
        Epoch(number=1, train_loss=0.5, val_loss=0.5, dice=(None,), learning_rate=0.01, seconds=2.0),
    ]
    some.append(Epoch(number=2, train_loss=0.5, val_loss=0.5, dice=(1.0,), learning_rate=0.01, seconds=2.0))
    source = read_checkpoint_history(write_checkpoint(tmp_path / "c.pth", content(some)))
    assert History(("a",), source.epochs).averages == pytest.approx((0.5, 0.5, 0.55))


class Hostile:
    """Would write a file as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


def test_no_code_of_a_checkpoint_is_run(tmp_path):
    some = epochs(2)
    path = write_checkpoint(tmp_path / "c.pth", content(some, evil=Hostile(tmp_path / "seen")))
    assert len(read_checkpoint_history(path).epochs) == 2
    assert not (tmp_path / "seen").exists()
    with zipfile.ZipFile(path) as archive:
        pickle.loads(archive.read("c/data.pkl"))
    assert (tmp_path / "seen").exists(), "the file is harmless and this test proves nothing"


def test_a_checkpoint_truncated_anywhere_gives_a_note_and_raises_nothing(tmp_path):
    data = write_checkpoint(tmp_path / "c.pth", content(epochs(1))).read_bytes()
    for cut in range(0, len(data), 5):
        (tmp_path / "cut.pth").write_bytes(data[:cut])
        source = read_checkpoint_history(tmp_path / "cut.pth")
        assert source.epochs == () and "cut.pth cannot be read" in source.notes[0]


@pytest.mark.parametrize(
    "content",
    [[], {}, {"logging": 3, "current_epoch": 1}, {"logging": {}, "current_epoch": "x"}, {"current_epoch": 1}],
)
def test_a_checkpoint_of_another_program_gives_a_note(tmp_path, content):
    source = read_checkpoint_history(write_checkpoint(tmp_path / "c.pth", content))
    assert source.epochs == () and len(source.notes) == 1


def test_a_pickle_damaged_in_its_middle_raises_nothing(tmp_path):
    whole = write_checkpoint(tmp_path / "c.pth", content(epochs(1)))
    with zipfile.ZipFile(whole) as archive:
        data = archive.read("c/data.pkl")
    for place in range(0, len(data), 7):
        with zipfile.ZipFile(tmp_path / "d.pth", "w") as archive:
            archive.writestr("c/data.pkl", data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        read_checkpoint_history(tmp_path / "d.pth")
