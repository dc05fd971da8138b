"""The history of a training: losses, Dice, learning rate and time of each epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median

KEPT_SHARE = 0.9  # of the moving average, in each epoch
LEARNT_DICE, LOST_SHARE, LAST_EPOCHS = 0.2, 0.5, 5  # as in `History.lost_labels`
SAME_DICE, SAME_LR, SAME_SECONDS = 2e-4, 2e-5, 0.02  # largest differences that come from rounding in logs


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Values of one epoch; a value that is missing, NaN or infinite is None.

    Attributes:
        number: number of the epoch, from 0.
        train_loss: mean loss over the training batches.
        val_loss: mean loss over the validation batches.
        dice: Dice of each label over the epoch's validation patches.
        learning_rate: learning rate of the epoch.
        seconds: duration of the epoch.
        average: moving average of the Dice, where the source states it.
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
        """Mean Dice over the labels that occurred in the validation patches; None where none did."""
        seen = [dice for dice in self.dice if dice is not None]
        return fmean(seen) if seen else None


@dataclass(frozen=True)
class History:
    """The epochs of a training.

    Attributes:
        labels: names of the labels, one for each value of an epoch's Dice.
        epochs: epochs with rising numbers; the first is not 0 where early logs are lost.
        judged_best: number of the epoch that the training itself names as its best.
    """

    labels: tuple[str, ...]
    epochs: tuple[Epoch, ...]
    judged_best: int | None = None

    @cached_property
    def averages(self) -> tuple[float | None, ...]:
        """Moving average of the Dice, one value an epoch; None where it is unknown.

        The value is the one that the source states, or otherwise calculated from that of the epoch before; an
        epoch without a Dice does not change it.

        Source: nnU-Net's `MetaLogger.log`.
        """
        averages: list[float | None] = []
        average: float | None = None
        next_number = 0
        is_known = True  # whether all epochs before are known
        for epoch in self.epochs:
            is_known = epoch.average is not None or (is_known and epoch.number == next_number)
            average = _next_average(average, epoch) if is_known else None
            averages.append(average)
            next_number = epoch.number + 1
        return tuple(averages)

    @cached_property
    def best(self) -> int | None:
        """Index of the best epoch; None where there is none.

        It is the epoch that the training names as its best, or otherwise the first with the highest average.
        nnU-Net's log states each new highest average. An average calculated from rounded Dice counts as
        higher than a stated one only if rounding does not explain the difference.
        """
        judged = (i for i, epoch in enumerate(self.epochs) if epoch.number == self.judged_best)
        if (of_training := next(judged, None)) is not None:
            return of_training
        stated = [epoch.average for epoch in self.epochs]
        calculated = [
            None if known is not None else value for known, value in zip(stated, self.averages, strict=True)
        ]
        best, other = _highest(stated), _highest(calculated)
        if best is None or other is None:
            return other if best is None else best
        return other if (calculated[other] or 0.0) > (stated[best] or 0.0) + SAME_DICE else best

    @property
    def best_average(self) -> float | None:
        """Moving average of the Dice at the best epoch."""
        return None if self.best is None else self.averages[self.best]

    def dice_of(self, label: str) -> tuple[float | None, ...]:
        """Dice of a label, one value an epoch."""
        return self._dice_by_label[label]

    @cached_property
    def _dice_by_label(self) -> dict[str, tuple[float | None, ...]]:
        n = len(self.labels)
        rows = [one.dice if len(one.dice) == n else (*one.dice, *[None] * n)[:n] for one in self.epochs]
        return dict(zip(self.labels, zip(*rows, strict=True) if rows else [()] * n, strict=True))

    def lost_labels(self) -> tuple[str, ...]:
        """Labels that the network learnt and lost again.

        A label is learnt if its Dice reached 0.2 in an epoch. It is lost if the median of the last five
        epochs in which it occurred is below half of the highest Dice before them.
        """
        return tuple(label for label in self.labels if _is_lost(self.dice_of(label)))

    @property
    def total_s(self) -> float:
        """Duration of all epochs whose time is known."""
        return math.fsum(epoch.seconds for epoch in self.epochs if epoch.seconds is not None)

    def epoch_s(self, last: int | None = None) -> float | None:
        """Median duration of all epochs, or of the last ones; None where no time is known."""
        times = [epoch.seconds for epoch in self.epochs if epoch.seconds is not None]
        return median(times if last is None else times[-last:]) if times else None


def _highest(values: Sequence[float | None]) -> int | None:
    known = [(value, -i) for i, value in enumerate(values) if value is not None]
    return -max(known)[1] if known else None


def moving_average(values: Iterable[float | None]) -> list[float | None]:
    """nnU-Net's moving average of a label's Dice; None before the first value, and unchanged by None."""
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
    """Epochs of two sources by number; where both have an epoch, that of the newer source."""
    by_number = {epoch.number: epoch for epoch in (*older, *newer)}
    return tuple(by_number[number] for number in sorted(by_number))


def epoch_differences(rounded: Iterable[Epoch], exact: Iterable[Epoch]) -> list[str]:
    """Differences between two sources of one training that rounding in the log does not explain.

    Args:
        rounded: epochs of a log.
        exact: epochs of a checkpoint or a history.csv.

    Returns:
        One text for each epoch that differs, such as `epoch 3: val_loss 0.5 and 0.7`; epochs of only one
        source do not count.
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
