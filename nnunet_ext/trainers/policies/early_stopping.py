"""When a training should stop, judged from its history alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

KEPT = 0.9  # of a moving average, an epoch: nnU-Net's
Cause = Literal["patience", "stop_at_dice", "cooldown_epochs", "max_hours", "stop_at", "nan_epochs"]


@dataclass(frozen=True)
class Verdict:
    """Whether to stop.

    Attributes:
        stop: whether to stop.
        reason: one sentence of how the training stands, for its log.
        cause: the setting that stops it, None while it goes on.
    """

    stop: bool
    reason: str
    cause: Cause | None = None


@dataclass(frozen=True)
class EarlyStopping:
    """Stops a training whose Dice has not risen for `patience` epochs, or has reached `stop_at_dice`.

    Attributes:
        patience: epochs without a rise after which to stop; None for any number.
        min_delta: a rise is one by more than this over the best so far.
        min_epochs: epochs before which no training is stopped, whatever its Dice.
        stop_at_dice: the Dice that is enough; None for none.
    """

    patience: int | None
    min_delta: float = 0.0
    min_epochs: int = 0
    stop_at_dice: float | None = None

    def judge(self, history: Sequence[float], counted_from: int = 0) -> Verdict:
        """Judge a training by its Dice so far.

        Args:
            history: one value an epoch; NaN is never a rise, and an epoch of waiting.
            counted_from: epochs before this one count as no waiting, though their best is still the
                one to rise over: a stopped run that was given more epochs gets its patience anew.

        Returns:
            The verdict; an empty history never stops.
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
    """Whether the last value is finite, the highest so far and at least `least`."""
    if not history or not math.isfinite(history[-1]) or history[-1] < least:
        return False
    return history[-1] > max(filter(math.isfinite, history[:-1]), default=-math.inf)


def nan_safe_average(dice_per_epoch: Sequence[float]) -> list[float]:
    """Moving average of the Dice, in which an epoch without one (NaN) leaves the average as it was.

    Args:
        dice_per_epoch: mean foreground Dice, one value an epoch.

    Returns:
        As many values. NaN only until the first finite one, which starts the average. Where all are
        finite these are nnU-Net's values to the last bit.

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
    """Moving average of the Dice that begins at 0: the average by which a training is judged.

    nnU-Net's average begins at the first epoch's Dice `d[0]`, which so weighs ten times as much as any
    other: a lucky first epoch is the best for a hundred epochs, and its untrained weights are kept. This
    average gives each epoch the same 0.1 when it comes:

        a[t] = 0.9 a[t-1] + 0.1 d[t],  a[-1] = 0;  that is nnU-Net's average less 0.9^(t+1) d[0]

    It is below the Dice at first, by half after 7 epochs and by a tenth after 22, and so rises for some
    epochs in which the Dice only stays: patience runs out that much later.

    Args:
        dice_per_epoch: mean foreground Dice, one value an epoch; one without a Dice (NaN) leaves the
            average as it was.

    Returns:
        As many values. NaN only until the first finite Dice.
    """
    averages: list[float] = []
    average, is_begun = 0.0, False
    for dice in dice_per_epoch:
        if math.isfinite(dice):
            average, is_begun = average * KEPT + (1 - KEPT) * float(dice), True
        averages.append(average if is_begun else math.nan)
    return averages
