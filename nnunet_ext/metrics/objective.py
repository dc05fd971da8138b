"""The score of a set of predictions as one number, and its standard error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from nnunet_ext.metrics.intervals import Values, mean_of_means, means_over_cases
from nnunet_ext.metrics.overlap import Counts, dice_of_counts

Over = Literal["mean", "pooled", "worst"]
Absent = Literal["nnunet", "one", "zero", "left_out"]
OVER: tuple[str, ...] = get_args(Over)
ABSENT: tuple[str, ...] = get_args(Absent)


@dataclass(frozen=True)
class Objective:
    """The definition of a score that is to be raised.

    Attributes:
        over: `mean` over labels of each label's mean Dice over cases; `pooled`, the same with each
            label's voxels of all cases taken as one; `worst`, the lowest of the labels' means.
        absent: a case that does not hold a label counts for it as follows. `nnunet`: not at all
            where it is not predicted either, 0 where it is; `one`: 1 and 0; `zero`: 0 and 0;
            `left_out`: never, so that false alarms cost nothing.
    """

    over: Over = "mean"
    absent: Absent = "nnunet"

    def dice(self, counts: Counts) -> Values:
        """Compute the Dice of each case and label, `(cases, labels)` from `(cases, labels, 3)`.

        NaN stands for a case that does not count for a label.
        """
        dice = dice_of_counts(counts)
        if self.absent == "left_out":
            dice[counts[..., 0] == 0] = np.nan
        elif self.absent != "nnunet":
            dice[np.isnan(dice)] = 1.0 if self.absent == "one" else 0.0
        return dice

    def by_label(self, counts: Counts) -> Values:
        """Compute each label's score; NaN where no case counts for it."""
        if self.over == "pooled":
            return dice_of_counts(counts.sum(axis=0))
        return means_over_cases(self.dice(counts))

    def score(self, counts: Counts) -> float:
        """Compute the score of some cases; NaN where no case counts for any label."""
        scores = self.by_label(counts)
        if self.over == "worst":
            known = scores[np.isfinite(scores)]
            return float(known.min()) if len(known) else float("nan")
        return float(mean_of_means(scores))

    def without_each(self, counts: Counts, units: Sequence[str] | None = None) -> Values:
        """Compute the score without each unit in turn: each subject's cases, or each case without units."""
        unit_of = np.arange(len(counts)) if units is None else np.unique(units, return_inverse=True)[1]
        n_units = int(unit_of.max(initial=-1)) + 1
        return np.array([self.score(counts[unit_of != unit]) for unit in range(n_units)])


def standard_error(without_each: Values) -> float:
    """Estimate the standard error of a score, or of a difference of two, by the jackknife.

    Args:
        without_each: the score without each case, or each subject, in turn; NaN counts as no change.

    Returns:
        For a mean over cases that is their standard deviation by the root of their number; 0 for
        fewer than two of them.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), equation 11.5.
    """
    known = without_each[np.isfinite(without_each)]
    n = len(known)
    return float(np.sqrt((n - 1) / n * np.sum((known - known.mean()) ** 2))) if n > 1 else 0.0
