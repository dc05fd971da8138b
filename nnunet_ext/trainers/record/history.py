"""`history.csv`: a line an epoch, with nnU-Net's logged values and further measurements."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from nnunet_ext.files.whole import written_whole

DICE = "dice_"


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measurements of an epoch that nnU-Net does not log; NaN where unknown.

    Attributes:
        waiting_share: share of the epoch's training time, without validation, spent waiting for batches.
        gpu_memory_mean_mib: memory of tensors on the GPU, mean over the training time.
        gpu_memory_peak_mib: highest memory of tensors on the GPU, validation included.
        gradient_norm: mean of the steps' finite gradient norms before clipping.
        skipped_steps: number of steps that were not made because their gradient was not finite.
    """

    waiting_share: float = math.nan
    gpu_memory_mean_mib: float = math.nan
    gpu_memory_peak_mib: float = math.nan
    gradient_norm: float = math.nan
    skipped_steps: float = math.nan


UNKNOWN = Measures()
MEASURED = tuple(one.name for one in fields(Measures))


@dataclass(frozen=True, kw_only=True)
class RecordedEpoch:
    """One epoch of the history; NaN where there is no value or it is unknown.

    Attributes:
        epoch: number of the epoch, from 0.
        train_loss: nnU-Net's mean training loss.
        val_loss: nnU-Net's mean validation loss.
        dice_mean: mean foreground Dice, without the labels that were not seen.
        dice_average: nnU-Net's moving average of `dice_mean`.
        dice: Dice of each label or region.
        learning_rate: learning rate of the epoch.
        seconds: duration of the epoch, validation included.
        measures: further measurements.
    """

    epoch: int
    train_loss: float
    val_loss: float
    dice_mean: float
    dice_average: float
    dice: tuple[float, ...]
    learning_rate: float
    seconds: float
    measures: Measures = field(default=UNKNOWN)

    def named(self, labels: Sequence[str]) -> list[tuple[str, float]]:
        """List the columns' names and values, without the number of the epoch."""
        dice = [(DICE + label, value) for label, value in zip(labels, self.dice, strict=True)]
        return [
            *(
                (name, getattr(self, name))
                for name in ("train_loss", "val_loss", "dice_mean", "dice_average")
            ),
            *dice,
            *((name, getattr(self, name)) for name in ("learning_rate", "seconds")),
            *zip(MEASURED, astuple(self.measures), strict=True),
        ]


def epoch_of(
    log: Mapping[str, Sequence[Any]], epoch: int, n_labels: int, measures: Measures
) -> RecordedEpoch:
    """Read one epoch from nnU-Net's log; values that are not logged are NaN."""

    def logged(key: str) -> float:
        values = log.get(key, ())
        return float(values[epoch]) if epoch < len(values) else math.nan

    per_label = log.get("dice_per_class_or_region", ())
    dice = [float(value) for value in per_label[epoch]] if epoch < len(per_label) else []
    return RecordedEpoch(
        epoch=epoch,
        train_loss=logged("train_losses"),
        val_loss=logged("val_losses"),
        dice_mean=logged("mean_fg_dice"),
        dice_average=logged("ema_fg_dice"),
        dice=(*dice, *[math.nan] * n_labels)[:n_labels],
        learning_rate=logged("lrs"),
        seconds=logged("epoch_end_timestamps") - logged("epoch_start_timestamps"),
        measures=measures,
    )


class HistoryFile:
    """The file `history.csv`; a cell without a value is empty.

    Attributes:
        path: the file.
        labels: names of the labels or regions in the order of nnU-Net's Dice.
        epochs: the epochs so far.
    """

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        self.path, self.labels = path, tuple(labels)
        self.epochs: list[RecordedEpoch] = []
        self._lines: list[str] = []

    def resume(self, log: Mapping[str, Sequence[Any]], n_epochs: int) -> None:
        """Rebuild the first `n_epochs` epochs from nnU-Net's log, with the measurements of an older file.

        A line of the older file is used only if its loss and time are those of the log, so a file that is
        missing, damaged or of another training gives no measurements.
        """
        written = _read_measures(self.path)
        self.epochs, self._lines = [], []
        for epoch in range(n_epochs):
            logged = epoch_of(log, epoch, len(self.labels), UNKNOWN)
            measures = written.get((epoch, _cell(logged.train_loss), _cell(logged.seconds)), UNKNOWN)
            self._append(epoch_of(log, epoch, len(self.labels), measures))

    def add(self, epoch: RecordedEpoch) -> None:
        """Add an epoch, which replaces the same and later ones, and write the file whole or not at all."""
        del self.epochs[epoch.epoch :], self._lines[epoch.epoch :]
        self._append(epoch)
        header = ["epoch", *(name for name, _ in epoch.named(self.labels))]
        with written_whole(self.path) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines([_line(header), *self._lines])

    def _append(self, epoch: RecordedEpoch) -> None:
        self.epochs.append(epoch)
        cells = [_cell(value) for _, value in epoch.named(self.labels)]
        self._lines.append(_line([str(epoch.epoch), *cells]))


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _read_measures(path: Path) -> dict[tuple[int, str, str], Measures]:
    """Read the measurements of a file by epoch, loss and seconds, the latter two as texts."""
    found = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                # An older file lacks the newer columns.
                values = {name: float(row.get(name) or math.nan) for name in MEASURED}
                found[int(row["epoch"]), row["train_loss"], row["seconds"]] = Measures(**values)
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return found  # the lines before the damage are good
    return found
