"""Limits of a training whatever its Dice: hours, a time of day, epochs without a finite loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nnunet_ext.trainers.policies.early_stopping import Verdict

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Limits:
    """Stops a training before it exceeds its time, and one that has lost all finite losses.

    Attributes:
        max_hours: hours of training, all its starts together; None for no limit.
        deadline: moment at which the training must have ended; None for none.
        nan_epochs: number of last epochs without a finite loss after which to stop; 0 to never stop.
    """

    max_hours: float | None = None
    deadline: datetime | None = None
    nan_epochs: int = 0

    def judge(self, losses: Sequence[float], seconds: Sequence[float], now: datetime) -> Verdict:
        """Judge a training between two epochs.

        Args:
            losses: training loss of each epoch.
            seconds: duration of each epoch; the training stops if one more like the last does not fit.
            now: the present time.
        """
        if self.nan_epochs and len(_not_finite_at_the_end(losses)) >= self.nan_epochs:
            return Verdict(True, f"no finite loss in the last {self.nan_epochs} epochs", "nan_epochs")
        last_s = seconds[-1] if seconds else 0.0
        hours = (sum(seconds) + last_s) / SECONDS_AN_HOUR
        if self.max_hours is not None and hours > self.max_hours:
            done = f"{sum(seconds) / SECONDS_AN_HOUR:.2f} of {self.max_hours:g} hours are used"
            return Verdict(True, f"{done}, and an epoch takes {last_s:.0f} s", "max_hours")
        if self.deadline is not None and now + timedelta(seconds=last_s) > self.deadline:
            until = self.deadline.isoformat(" ", "minutes")
            return Verdict(True, f"an epoch takes {last_s:.0f} s and may last until {until}", "stop_at")
        return Verdict(False, "within its limits")


def _not_finite_at_the_end(losses: Sequence[float]) -> Sequence[float]:
    last_finite = max((i for i, loss in enumerate(losses) if math.isfinite(loss)), default=-1)
    return losses[last_finite + 1 :]
