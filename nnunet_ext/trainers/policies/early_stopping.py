"""Early stopping: a verdict from the history of the Dice alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

KEPT = 0.9  # share of the old value in a moving average, as in nnU-Net
Cause = Literal["patience", "stop_at_dice", "cooldown_epochs", "max_hours", "stop_at", "nan_epochs"]


@dataclass(frozen=True)
class Verdict:
    """Decision whether to stop a training.

    Attributes:
        stop: whether to stop.
        reason: state of the training in one sentence, for its log.
        cause: the setting that stops the training; None while it goes on.
    """

    stop: bool
    reason: str
    cause: Cause | None = None


@dataclass(frozen=True)
class EarlyStopping:
    """Stops a training whose Dice has not risen for `patience` epochs, or has reached `stop_at_dice`.

    Attributes:
        patience: epochs without a rise after which to stop; None to wait for ever.
        min_delta: Dice by which a value must exceed the best one so far to count as a rise.
        min_epochs: number of epochs before which no training is stopped.
        stop_at_dice: Dice at which the training is stopped; None for none.
    """

    patience: int | None
    min_delta: float = 0.0
    min_epochs: int = 0
    stop_at_dice: float | None = None

    def judge(self, history: Sequence[float], counted_from: int = 0) -> Verdict:
        """Judge a training by its Dice so far.

        Args:
            history: Dice of each epoch; an epoch with NaN counts as one without a rise.
            counted_from: epochs without a rise are counted from this one on, so that a stopped training
                that is given more epochs gets its whole patience again. The best Dice is that of all epochs.

        Returns:
            The verdict; with an empty history the training goes on.
        """
        best, best_epoch = self._best(history)
        waited = len(history) - max(best_epoch + 1, counted_from)
        seen = f"best {best:.4f} at epoch {best_epoch}" if best_epoch >= 0 else "no finite Dice so far"
        of = "" if self.patience is None else f" of {self.patience}"
        state = f"{seen}, {max(waited, 0)}{of} epochs without a rise"
        if not history or len(history) < self.min_epochs:
            return Verdict(False, state)
        if self.stop_at_dice is not None and history[-1] >= self.stop_at_dice:
            reached = f"Dice {history[-1]:.4f} has reached stop_at_dice {self.stop_at_dice}"
            return Verdict(True, reached, "stop_at_dice")
        if self.patience is not None and waited >= self.patience:
            return Verdict(True, state, "patience")
        return Verdict(False, state)

    def _best(self, history: Sequence[float]) -> tuple[float, int]:
        best, best_epoch = -math.inf, -1
        for epoch, dice in enumerate(history):
            if dice > best + self.min_delta:
                best, best_epoch = dice, epoch
        return best, best_epoch


def is_new_best(history: Sequence[float], least: float = -math.inf) -> bool:
    """Whether the last value is finite, higher than all before it, and at least `least`."""
    if not history or not math.isfinite(history[-1]) or history[-1] < least:
        return False
    return history[-1] > max(filter(math.isfinite, history[:-1]), default=-math.inf)


def nan_safe_average(dice_per_epoch: Sequence[float]) -> list[float]:
    """Compute nnU-Net's moving average of the Dice, which an epoch without a Dice (NaN) leaves as it was.

    Args:
        dice_per_epoch: mean foreground Dice, one value an epoch.

    Returns:
        One value an epoch; NaN until the first finite Dice, with which the average begins. If all values
        are finite, the averages are nnU-Net's to the last bit.

    Source: nnU-Net's `MetaLogger.log`, where one NaN makes all that follow NaN.
    """
    averages: list[float] = []
    average = math.nan
    for dice in dice_per_epoch:
        if math.isfinite(dice):
            average = average * KEPT + 0.1 * dice if math.isfinite(average) else dice
        averages.append(average)
    return averages


def earned_average(dice_per_epoch: Sequence[float]) -> list[float]:
    """Compute a moving average of the Dice that begins at 0, by which trainings are judged.

    nnU-Net's average begins with the Dice of the first epoch, `d[0]`, which therefore weighs ten times as
    much as any other. After a lucky first epoch the average may not exceed it for a hundred epochs, and the
    almost untrained weights are kept as the best. In this average each epoch weighs 0.1:

        a[t] = 0.9 a[t-1] + 0.1 d[t],  a[-1] = 0;  that is nnU-Net's average less 0.9^(t+1) d[0]

    At first it is below the Dice, by half after 7 epochs and by a tenth after 22. It therefore still rises
    for some epochs in which the Dice does not, and patience runs out that much later.

    Args:
        dice_per_epoch: mean foreground Dice, one value an epoch; NaN leaves the average as it was.

    Returns:
        One value an epoch; NaN until the first finite Dice.
    """
    averages: list[float] = []
    average, is_begun = 0.0, False
    for dice in dice_per_epoch:
        if math.isfinite(dice):
            average, is_begun = average * KEPT + (1 - KEPT) * float(dice), True
        averages.append(average if is_begun else math.nan)
    return averages
