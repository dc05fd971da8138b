"""Learning rates as functions of the epoch and of the Dice so far.

nnU-Net's checkpoint holds both. A schedule therefore has no state of its own, and a continued training has
the learning rates of one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_ext.trainers.policies.early_stopping import EarlyStopping
from nnunet_ext.trainers.settings.choices import ScheduleName

POLY_EXPONENT = 0.9


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate of each epoch; the names are those of the settings.

    Attributes:
        schedule: form of the fall after the warm-up.
        initial_lr: highest rate, that of the first epoch after the warm-up.
        n_epochs: epochs of the whole training.
        warmup_epochs: epochs in which the rate rises linearly to `initial_lr`.
        restart_epochs: for `restarts`, epochs to the first restart.
        restart_factor: for `restarts`, length of each period as a multiple of the one before.
        step_epochs: for `step` and `exponential`, epochs in which the rate falls to its `lr_factor`-fold.
        lr_factor: for `step`, `exponential` and `plateau`, the factor of each fall.
        plateau_epochs: for `plateau`, epochs without a rise of the Dice after which the rate falls.
    """

    schedule: ScheduleName = "poly"
    initial_lr: float = 1e-2
    n_epochs: int = 1000
    warmup_epochs: int = 0
    restart_epochs: int = 100
    restart_factor: int = 2
    step_epochs: int = 250
    lr_factor: float = 0.1
    plateau_epochs: int = 20

    def lr(self, epoch: int, history: Sequence[float] = ()) -> float:
        """Compute the learning rate of an epoch.

        Args:
            epoch: number of the epoch, from 0.
            history: Dice of the epochs before; only `plateau` uses it.
        """
        if epoch < self.warmup_epochs:
            return self.initial_lr * (epoch + 1) / (self.warmup_epochs + 1)
        return self.initial_lr * self._share(epoch - self.warmup_epochs, history[self.warmup_epochs : epoch])

    def _share(self, epoch: int, history: Sequence[float]) -> float:
        """Share of `initial_lr` in an epoch counted from the end of the warm-up."""
        length = self.n_epochs - self.warmup_epochs
        if self.schedule == "poly":
            return float((1 - epoch / length) ** POLY_EXPONENT)
        if self.schedule == "cosine":
            return _cosine(epoch / length)
        if self.schedule == "restarts":
            return _cosine(self._share_of_period(epoch))
        if self.schedule == "step":
            return self.lr_factor ** (epoch // self.step_epochs)
        if self.schedule == "exponential":
            return float(self.lr_factor ** (epoch / self.step_epochs))
        return self.lr_factor ** _plateaus(history, self.plateau_epochs)

    def _share_of_period(self, epoch: int) -> float:
        length = self.restart_epochs
        while epoch >= length:
            epoch -= length
            length *= self.restart_factor
        return epoch / length


def _cosine(share: float) -> float:
    """Fall from 1 at 0 to 0 at 1. Source: Loshchilov and Hutter, SGDR, 2017."""
    return (1 + math.cos(math.pi * share)) / 2


def _plateaus(history: Sequence[float], patience: int) -> int:
    """Count how often the Dice did not rise for `patience` epochs in a row; NaN is no rise."""
    best, waited, plateaus = -math.inf, 0, 0
    for dice in history:
        waited += 1
        if dice > best:
            best, waited = dice, 0
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


@dataclass(frozen=True)
class CoolDown:
    """A linear fall of the learning rate to zero once patience has run out.

    Attributes:
        policy: early stopping with the patience. The cool-down begins when it runs out for the first time,
            and is not undone by a later rise of the Dice, which it is meant to bring.
        n_epochs: epochs of the fall; 0 for no cool-down.
        last_epoch: number of epochs of the whole training, at which a late cool-down ends early.
    """

    policy: EarlyStopping
    n_epochs: int
    last_epoch: int

    def began(self, history: Sequence[float], counted_from: int = 0) -> int | None:
        """Find the first epoch of the cool-down; None before it."""
        if self.n_epochs == 0:
            return None
        lengths = range(1, len(history) + 1)
        causes = ((length, self.policy.judge(history[:length], counted_from).cause) for length in lengths)
        return next((length for length, cause in causes if cause == "patience"), None)

    def length(self, began: int) -> int:
        """Number of epochs of the cool-down that began with this epoch."""
        return min(self.n_epochs, self.last_epoch - began)

    def share(self, epoch: int, began: int) -> float:
        """Learning rate in an epoch as a share of that before the cool-down, 0 at its end."""
        return max(0.0, 1 - (epoch - began + 1) / (self.length(began) + 1))


class EpochScheduler:
    """The scheduler that nnU-Net calls at the start of an epoch, which sets the optimizer's learning rate.

    Args:
        optimizer: torch's optimizer.
        lr_at: learning rate as a function of the epoch.
    """

    def __init__(self, optimizer: Any, lr_at: Callable[[int], float]) -> None:
        self._optimizer, self._lr_at = optimizer, lr_at

    def step(self, epoch: int) -> None:
        """Set the learning rate of an epoch."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr_at(epoch)

    def get_last_lr(self) -> list[float]:
        """The present learning rate of each group of parameters."""
        return [float(group["lr"]) for group in self._optimizer.param_groups]
