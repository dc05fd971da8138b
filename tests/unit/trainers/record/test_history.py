import csv
import math

import pytest

from nnunet_ext.trainers.record.history import MEASURED, UNKNOWN, HistoryFile, Measures, epoch_of

LABELS = ("organ", "tumour, solid")
MEASURES = Measures(
    waiting_share=0.25,
    gpu_memory_mean_mib=100.0,
    gpu_memory_peak_mib=200.5,
    gradient_norm=1.5,
    skipped_steps=2.0,
)


def log_of(n_epochs, loss=0.5):
    return {
        "train_losses": [loss - epoch / 8 for epoch in range(n_epochs)],
        "val_losses": [1.0] * n_epochs,
        "mean_fg_dice": [0.1 * epoch for epoch in range(n_epochs)],
        "ema_fg_dice": [0.1] * n_epochs,
        "dice_per_class_or_region": [[0.1 * epoch, math.nan] for epoch in range(n_epochs)],
        "lrs": [0.01] * n_epochs,
        "epoch_start_timestamps": [10.0 * epoch for epoch in range(n_epochs)],
        "epoch_end_timestamps": [10.0 * epoch + 7 for epoch in range(n_epochs)],
    }


def written(path, n_epochs, log=None, measures=MEASURES):
    history = HistoryFile(path, LABELS)
    for epoch in range(n_epochs):
        history.add(epoch_of(log or log_of(n_epochs), epoch, len(LABELS), measures))
    return history


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.csv"


def test_the_columns_name_each_label(path):
    written(path, 1)
    assert list(rows(path)[0]) == [
        "epoch", "train_loss", "val_loss", "dice_mean", "dice_average", "dice_organ", "dice_tumour, solid",
        "learning_rate", "seconds", "waiting_share", "gpu_memory_mean_mib", "gpu_memory_peak_mib",
        "gradient_norm", "skipped_steps",
    ]  # fmt: skip


def test_cells_read_back_as_the_values_and_nan_as_nothing(path):
    written(path, 3)
    last = rows(path)[-1]
    assert float(last["dice_organ"]) == 0.1 * 2
    assert float(last["train_loss"]) == 0.5 - 2 / 8
    assert float(last["seconds"]) == 7
    assert last["dice_tumour, solid"] == ""
    assert [float(last[name]) for name in MEASURED] == [0.25, 100.0, 200.5, 1.5, 2.0]


def test_an_epoch_that_nnunet_did_not_log_is_empty(path):
    written(path, 1, log={"train_losses": [0.5]})
    assert {name: cell for name, cell in rows(path)[0].items() if cell and name not in MEASURED} == {
        "epoch": "0",
        "train_loss": "0.5",
    }


def test_a_resumed_history_keeps_what_was_measured_and_drops_later_epochs(path):
    written(path, 5)
    history = HistoryFile(path, LABELS)
    history.resume(log_of(5), 3)
    history.add(epoch_of(log_of(4, loss=0.9), 3, 2, UNKNOWN))
    found = rows(path)
    assert [row["epoch"] for row in found] == ["0", "1", "2", "3"]
    assert [row["gradient_norm"] for row in found] == ["1.5", "1.5", "1.5", ""]
    assert found[3]["train_loss"] == repr(0.9 - 3 / 8)


@pytest.mark.parametrize("junk", [None, b"", b"\xff\xfe\x00junk", b"epoch,train_loss\n0,x\n", b"a\nb\n"])
def test_a_file_that_is_missing_or_damaged_is_rebuilt_from_the_log(path, junk):
    if junk is not None:
        path.write_bytes(junk)
    history = HistoryFile(path, LABELS)
    history.resume(log_of(3), 2)
    history.add(epoch_of(log_of(3), 2, 2, MEASURES))
    found = rows(path)
    assert [row["train_loss"] for row in found] == [repr(0.5 - epoch / 8) for epoch in range(3)]
    assert [row["waiting_share"] for row in found] == ["", "", "0.25"]


def test_lines_before_the_damage_keep_what_was_measured(path):
    written(path, 3)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:20]]), encoding="utf-8")
    history = HistoryFile(path, LABELS)
    history.resume(log_of(3), 3)
    assert [epoch.measures == MEASURES for epoch in history.epochs] == [True, True, False]


def test_what_another_training_measured_is_not_taken_over(path):
    written(path, 3, log=log_of(3, loss=0.7))
    history = HistoryFile(path, LABELS)
    history.resume(log_of(3), 3)
    assert {repr(epoch.measures) for epoch in history.epochs} == {repr(UNKNOWN)}


def test_an_epoch_done_again_replaces_its_line(path):
    history = written(path, 3)
    history.add(epoch_of(log_of(3, loss=0.9), 1, 2, MEASURES))
    assert [row["train_loss"] for row in rows(path)] == ["0.5", repr(0.9 - 1 / 8)]
