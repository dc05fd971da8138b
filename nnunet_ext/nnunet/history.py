"""A training's history: what each epoch gave, by label name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median

KEPT_SHARE = 0.9  # of the moving average, an epoch
LEARNT_DICE, LOST_SHARE, LAST_EPOCHS = 0.2, 0.5, 5
SAME_DICE, SAME_LR, SAME_SECONDS = 2e-4, 2e-5, 0.02  # how far what a log rounds may be from the value


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch gave. A value that is missing, NaN or infinite is None.

    Attributes:
        number: the first is 0.
        train_loss: mean over the training batches.
        val_loss: mean over the validation batches.
        dice: one value a label, over the epoch's validation patches.
        learning_rate: of the epoch.
        seconds: that it took.
        average: the moving average of the Dice where the source states it.
    """

    number: int
    train_loss: float | None = None
    val_loss: float | None = None
    dice: tuple[float | None, ...] = ()
    learning_rate: float | None = None
    seconds: float | None = None
    average: float | None = None

    @property
    def dice_mean(self) -> float | None:
        """Mean over the labels that were seen; None where none was."""
        seen = [dice for dice in self.dice if dice is not None]
        return fmean(seen) if seen else None


@dataclass(frozen=True)
class History:
    """A training's epochs.

    Attributes:
        labels: names, one for each value of an epoch's Dice.
        epochs: each number once and rising; where early logs are lost the first is not 0.
        judged_best: number of the best epoch where the training itself says it.
    """

    labels: tuple[str, ...]
    epochs: tuple[Epoch, ...]
    judged_best: int | None = None

    @cached_property
    def averages(self) -> tuple[float | None, ...]:
        """Moving average of the Dice, one value an epoch; None where it cannot be known.

        It is what the source states, else goes on from the epoch before: an epoch without a Dice
        leaves it as it was.

        Source: nnU-Net's `MetaLogger.log`.
        """
        averages: list[float | None] = []
        average: float | None = None
        next_number = 0
        is_known = True  # whether all epochs before are
        for epoch in self.epochs:
            is_known = epoch.average is not None or (is_known and epoch.number == next_number)
            average = _next_average(average, epoch) if is_known else None
            averages.append(average)
            next_number = epoch.number + 1
        return tuple(averages)

    @cached_property
    def best(self) -> int | None:
        """Index of the best epoch; None where there is none.

        It is the one that the training judged best, else the first of those with the best average.
        nnU-Net's log states each new best. An average reckoned from rounded Dice counts as better than
        one that is stated only where rounding cannot explain it.
        """
        judged = (i for i, epoch in enumerate(self.epochs) if epoch.number == self.judged_best)
        if (of_training := next(judged, None)) is not None:
            return of_training
        stated = [epoch.average for epoch in self.epochs]
        reckoned = [
            None if known is not None else value for known, value in zip(stated, self.averages, strict=True)
        ]
        best, other = _highest(stated), _highest(reckoned)
        if best is None or other is None:
            return other if best is None else best
        return other if (reckoned[other] or 0.0) > (stated[best] or 0.0) + SAME_DICE else best

    @property
    def best_average(self) -> float | None:
        """Moving average at the best epoch."""
        return None if self.best is None else self.averages[self.best]

    def dice_of(self, label: str) -> tuple[float | None, ...]:
        """One label's Dice, one value an epoch."""
        return self._dice_by_label[label]

    @cached_property
    def _dice_by_label(self) -> dict[str, tuple[float | None, ...]]:
        n = len(self.labels)
        rows = [one.dice if len(one.dice) == n else (*one.dice, *[None] * n)[:n] for one in self.epochs]
        return dict(zip(self.labels, zip(*rows, strict=True) if rows else [()] * n, strict=True))

    def lost_labels(self) -> tuple[str, ...]:
        """Labels that were learnt and lost again.

        Learnt: an epoch's Dice reached 0.2. Lost: the median of the last five epochs that saw the
        label is below half of the highest before them.
        """
        return tuple(label for label in self.labels if _is_lost(self.dice_of(label)))

    @property
    def total_s(self) -> float:
        """Seconds of all epochs whose time is known."""
        return math.fsum(epoch.seconds for epoch in self.epochs if epoch.seconds is not None)

    def epoch_s(self, last: int | None = None) -> float | None:
        """Median seconds of an epoch, of all or of the last ones; None where no time is known."""
        times = [epoch.seconds for epoch in self.epochs if epoch.seconds is not None]
        return median(times if last is None else times[-last:]) if times else None


def _highest(values: Sequence[float | None]) -> int | None:
    known = [(value, -i) for i, value in enumerate(values) if value is not None]
    return -max(known)[1] if known else None


def moving_average(values: Iterable[float | None]) -> list[float | None]:
    """nnU-Net's moving average of one label; None before its first value, and unmoved by None."""
    averages: list[float | None] = []
    average: float | None = None
    for value in values:
        if value is not None:
            average = value if average is None else average * KEPT_SHARE + (1 - KEPT_SHARE) * value
        averages.append(average)
    return averages


def _next_average(average: float | None, epoch: Epoch) -> float | None:
    if epoch.average is not None:
        return epoch.average
    dice = epoch.dice_mean
    if average is None or dice is None:
        return dice if average is None else average
    return average * KEPT_SHARE + (1 - KEPT_SHARE) * dice


def _is_lost(dice: Sequence[float | None]) -> bool:
    seen = [value for value in dice if value is not None]
    highest = max(seen[:-LAST_EPOCHS], default=0.0)
    return highest >= LEARNT_DICE and median(seen[-LAST_EPOCHS:]) < LOST_SHARE * highest


def joined_epochs(older: Iterable[Epoch], newer: Iterable[Epoch]) -> tuple[Epoch, ...]:
    """Epochs of two sources by number; the newer's where both have one."""
    by_number = {epoch.number: epoch for epoch in (*older, *newer)}
    return tuple(by_number[number] for number in sorted(by_number))


def epoch_differences(rounded: Iterable[Epoch], exact: Iterable[Epoch]) -> list[str]:
    """Where two sources of one training say different things, beyond what a log rounds.

    Args:
        rounded: a log's epochs.
        exact: those of a checkpoint or of a history.csv; epochs that only one has are no difference.

    Returns:
        A sentence's part an epoch, such as `epoch 3: val_loss 0.5 and 0.7`; empty where they agree.
    """
    by_number = {epoch.number: epoch for epoch in exact}
    pairs = ((epoch, by_number[epoch.number]) for epoch in rounded if epoch.number in by_number)
    found = ((epoch.number, _difference(epoch, other)) for epoch, other in pairs)
    return [f"epoch {number}: {text}" for number, text in found if text]


def _difference(one: Epoch, other: Epoch) -> str:
    values = (
        ("train_loss", one.train_loss, other.train_loss, SAME_DICE),
        ("val_loss", one.val_loss, other.val_loss, SAME_DICE),
        ("learning rate", one.learning_rate, other.learning_rate, SAME_LR),
        ("seconds", one.seconds, other.seconds, SAME_SECONDS),
    )
    for name, first, second, tolerance in values:
        if first is not None and second is not None and abs(first - second) > tolerance:
            return f"{name} {first:g} and {second:g}"
    return "" if _same_dice(one.dice, other.dice) else f"Dice {list(one.dice)} and {list(other.dice)}"


def _same_dice(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    if not one or not other:
        return True
    return len(one) == len(other) and all(
        (a is None) == (b is None) and (a is None or b is None or abs(a - b) <= SAME_DICE)
        for a, b in zip(one, other, strict=True)
    )
