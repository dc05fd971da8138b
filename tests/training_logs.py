"""Training logs as nnU-Net and those who capture it write them, of histories that the tests choose."""

from __future__ import annotations

import csv
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from factories import write_dataset_json

from nnunet_ext.nnunet.history import Epoch

HEAD = """
#######################################################################
Please cite the following paper when using nnU-Net:
Isensee, F., Jaeger, P. F., Kohl, S. A., Petersen, J., & Maier-Hein, K. H. (2021). nnU-Net
#######################################################################

"""
PLANS = """
This is the configuration used by this training:
Configuration name: 2d
 {'data_identifier': 'nnUNetPlans_2d', 'batch_size': 4, 'patch_size': [56, 40], 'epochs': 'Epoch 7'}

"""
TRACEBACK = """Exception in thread Thread-2 (results_loop):
Traceback (most recent call last):
  File "/env/threading.py", line 1075, in _bootstrap_inner
    self.run()
RuntimeError: One or more background workers are no longer alive. Exiting.
Traceback (most recent call last):
  File "/env/bin/nnUNetv2_train", line 8, in <module>
    sys.exit(run_training_entry())
             ^^^^^^^^^^^^^^^^^^^^
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.
"""
VERSION_1 = """2022-06-20 07:56:48.872122: 
epoch:  9 
2022-06-20 07:57:38.016679: train loss : 0.3188 
2022-06-20 07:57:41.970286: validation loss: 0.2696 
2022-06-20 07:57:41.971284: Average global foreground Dice: [0.8667, 0.0009] 
2022-06-20 07:57:42.467828: lr: 1e-05 
2022-06-20 07:57:42.998433: This epoch took 54.126240 s
"""  # noqa: W291, lines end with a space there

NumberStyle = Callable[[float], str]


def plain(value: float) -> str:
    """As numpy 1 prints a number in a list."""
    return repr(value)


def float32(value: float) -> str:
    """As numpy 2 does."""
    return f"np.float32({value!r})"


def float64(value: float) -> str:
    """As numpy 2 does with the other type."""
    return f"np.float64({value!r})"


def epochs(n: int, first: int = 0, n_labels: int = 2, shift: float = 0.0) -> list[Epoch]:
    """Some epochs with values of four decimals, in whose third the last label was not seen."""

    def epoch(i: int) -> Epoch:
        dice: list[float | None] = [round(0.3 + 0.05 * i + 0.1 * k + shift, 4) for k in range(n_labels)]
        if i == 2:
            dice[-1] = None
        return Epoch(
            number=i,
            train_loss=round(0.9 - 0.13 * i + shift, 4),
            val_loss=round(0.8 - 0.09 * i + shift, 4),
            dice=tuple(dice),
            learning_rate=round(0.01 * 0.9**i, 5),
            seconds=round(12.5 + i, 2),
        )

    return [epoch(i) for i in range(first, first + n)]


class LogWriter:
    """Writes a log line by line with rising times."""

    def __init__(self, style: NumberStyle = plain, fraction: bool = True) -> None:
        self.text, self.style, self.fraction = HEAD, style, fraction
        self.second = 0

    def line(self, message: str) -> LogWriter:
        self.second += 1
        time = f"{self.second // 3600:02d}:{self.second // 60 % 60:02d}:{self.second % 60:02d}"
        fraction = f".{self.second * 7919 % 1000000:06d}" if self.fraction else ""
        self.text += f"2024-04-21 {time}{fraction}: {message} \n"
        return self

    def raw(self, text: str) -> LogWriter:
        self.text += text
        return self

    def start(self, epoch: Epoch) -> LogWriter:
        rate = epoch.learning_rate
        return self.line("").line(f"Epoch {epoch.number}").line(f"Current learning rate: {rate!r}")

    def epoch(self, epoch: Epoch, extra: Sequence[str] = ()) -> LogWriter:
        self.start(epoch)
        dice = ", ".join(self.style(float("nan") if one is None else one) for one in epoch.dice)
        messages = [
            f"train_loss {epoch.train_loss!r}",
            f"val_loss {epoch.val_loss!r}",
            f"Pseudo dice [{dice}]",
        ]
        for message in (*messages, f"Epoch time: {epoch.seconds!r} s"):
            self.line(message)
            for one in extra:
                self.line(one)
        if epoch.average is not None:
            self.line(f"Yayy! New best EMA pseudo Dice: {epoch.average!r}")
        return self

    def epochs(self, some: Sequence[Epoch], extra: Sequence[str] = ()) -> LogWriter:
        for epoch in some:
            self.epoch(epoch, extra)
        return self

    def end(self, validated: int | None = 2) -> LogWriter:
        """The end of a training, and its validation of so many cases."""
        self.line("Training done.")
        if validated is None:
            return self
        self.line("Using splits from existing split file: /a/splits_final.json")
        self.line(f"This split has 8 training and {validated} validation cases.")
        for i in range(validated):
            self.line(f"predicting case_{i}").line(f"case_{i}, shape torch.Size([1, 34, 53, 34]), rank 0")
        return self.line("Validation complete").line("Mean Validation Dice:  0.8015385300531836")


def best_stated(some: Sequence[Epoch]) -> list[Epoch]:
    """The epochs with nnU-Net's moving average stated wherever it is a new best, to 4 decimals."""
    stated, average, best = [], None, float("-inf")
    for epoch in some:
        dice = epoch.dice_mean
        average = dice if average is None or dice is None else 0.9 * average + 0.1 * dice
        is_best = average is not None and average > best
        best = average if is_best else best
        stated.append(replace(epoch, average=round(average, 4) if is_best else None))
    return stated


def write_fold(
    results: Path,
    logs: dict[str, str],
    *,
    trainer: str = "nnUNetTrainer",
    fold: str = "0",
    dataset: str = "Dataset004_Hippocampus",
    debug: dict[str, Any] | None = None,
) -> Path:
    """A fold's folder with logs by name, a dataset.json beside it and perhaps a debug.json."""
    folder = results / dataset / f"{trainer}__nnUNetPlans__2d" / f"fold_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    write_dataset_json(folder.parent, {"background": 0, "Anterior": 1, "Posterior": 2})
    for name, text in logs.items():
        (folder / name).write_bytes(text.encode())
    if debug is not None:
        (folder / "debug.json").write_text(json.dumps(debug), encoding="utf-8")
    return folder


def write_summary(fold: Path, cases: dict[str, dict[str, tuple[int, int, int]]]) -> Path:
    """nnU-Net's summary.json; by case and label: voxels in the reference, predicted, and common."""

    def metrics(n_ref: int, n_pred: int, n_both: int) -> dict[str, Any]:
        dice = 2 * n_both / (n_ref + n_pred) if n_ref + n_pred else float("nan")
        return {"Dice": dice, "TP": n_both, "n_ref": n_ref, "n_pred": n_pred}

    entries = [
        {
            "metrics": {label: metrics(*counts) for label, counts in labels.items()},
            "prediction_file": f"/results/validation/{case}.nii.gz",
            "reference_file": f"/gt/{case}.nii.gz",
        }
        for case, labels in cases.items()
    ]
    folder = fold / "validation"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"foreground_mean": {"Dice": 0.5}, "mean": {}, "metric_per_case": entries}
    path = folder / "summary.json"
    path.write_text(json.dumps(content), encoding="utf-8")  # with bare NaN, as nnU-Net writes it
    return path


def write_history_csv(path: Path, some: Sequence[Epoch], labels: Sequence[str]) -> Path:
    """The history.csv of our trainers."""
    header = ["epoch", "train_loss", "val_loss", "dice_mean", "dice_average"]
    header += [f"dice_{label}" for label in labels]
    header += ["learning_rate", "seconds", "waiting_share", "gpu_memory_mean_mib", "gpu_memory_peak_mib"]
    rows: list[list[Any]] = [[*header, "gradient_norm"]]
    for one in some:
        values = (one.number, one.train_loss, one.val_loss, one.dice_mean, one.average, *one.dice)
        rows.append([*values, one.learning_rate, one.seconds, 0.01, None, None, 1.5])
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_checkpoint(path: Path, content: Any) -> Path:
    """A checkpoint's outer form, without torch: a zip with a pickle in it."""
    buffer = io.BytesIO()
    pickle.Pickler(buffer, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", buffer.getvalue())
        archive.writestr(f"{path.stem}/data/0", b"\0" * 16)
    return path
