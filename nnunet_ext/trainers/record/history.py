"""The history of a training, an epoch a line: what nnU-Net logs, and what is measured beside it."""

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


@dataclass(frozen=True)
class Measures:
    """What is measured in an epoch and stands in no log of nnU-Net's; NaN is unknown.

    Attributes:
        waiting_share: share of the training's time, without validation, spent waiting for batches.
        gpu_memory_mean_mib: memory held by tensors, its mean over the training's time.
        gpu_memory_peak_mib: the most of it, validation included.
        gradient_norm: mean of the finite ones of the steps, before they are clipped.
        skipped_steps: number of steps that were not made, as their gradients were not finite.
    """

    waiting_share: float = math.nan
    gpu_memory_mean_mib: float = math.nan
    gpu_memory_peak_mib: float = math.nan
    gradient_norm: float = math.nan
    skipped_steps: float = math.nan


UNKNOWN = Measures()
MEASURED = tuple(one.name for one in fields(Measures))


@dataclass(frozen=True)
class Epoch:
    """One epoch; NaN is none or unknown.

    Attributes:
        epoch: its number, from 0.
        train_loss, val_loss: nnU-Net's means.
        dice_mean: of the foreground, without the labels that were not seen.
        dice_average: nnU-Net's moving average of it.
        dice: of each label or region.
        learning_rate: in this epoch.
        seconds: from its beginning to its end, validation included.
        measures: what is measured beside these.
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
        """Every value but the number with the name of its column."""
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


def epoch_of(log: Mapping[str, Sequence[Any]], epoch: int, n_labels: int, measures: Measures) -> Epoch:
    """One epoch of nnU-Net's log; what is not logged is NaN."""

    def logged(key: str) -> float:
        values = log.get(key, ())
        return float(values[epoch]) if epoch < len(values) else math.nan

    per_label = log.get("dice_per_class_or_region", ())
    dice = [float(value) for value in per_label[epoch]] if epoch < len(per_label) else []
    return Epoch(
        epoch,
        logged("train_losses"),
        logged("val_losses"),
        logged("mean_fg_dice"),
        logged("ema_fg_dice"),
        (*dice, *[math.nan] * n_labels)[:n_labels],
        logged("lrs"),
        logged("epoch_end_timestamps") - logged("epoch_start_timestamps"),
        measures,
    )


class HistoryFile:
    """`history.csv`, a line an epoch; a cell without a value is empty.

    Attributes:
        path: the file.
        labels: names of the labels or regions whose Dice is logged, in its order.
        epochs: the epochs so far.
    """

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        self.path, self.labels = path, tuple(labels)
        self.epochs: list[Epoch] = []
        self._lines: list[str] = []

    def resume(self, log: Mapping[str, Sequence[Any]], n_epochs: int) -> None:
        """Go on after `n_epochs`: rebuild them from nnU-Net's log, and read what was measured in them.

        A line of the file counts only where its loss and time are those of the log: in a file that is
        missing, damaged or of another training nothing was measured.
        """
        written = _read_measures(self.path)
        self.epochs, self._lines = [], []
        for epoch in range(n_epochs):
            logged = epoch_of(log, epoch, len(self.labels), UNKNOWN)
            measures = written.get((epoch, _cell(logged.train_loss), _cell(logged.seconds)), UNKNOWN)
            self._append(epoch_of(log, epoch, len(self.labels), measures))

    def add(self, epoch: Epoch) -> None:
        """Add an epoch in place of what stood there and after, and write the file, whole or not at all."""
        del self.epochs[epoch.epoch :], self._lines[epoch.epoch :]
        self._append(epoch)
        header = ["epoch", *(name for name, _ in epoch.named(self.labels))]
        with written_whole(self.path) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines([_line(header), *self._lines])

    def _append(self, epoch: Epoch) -> None:
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
    """What was measured, by epoch, loss and seconds as they are written."""
    found = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                # An older file lacks the newer columns.
                values = [float(row.get(name) or math.nan) for name in MEASURED]
                found[int(row["epoch"]), row["train_loss"], row["seconds"]] = Measures(*values)
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return found  # what was read before the damage is as good as ever
    return found
