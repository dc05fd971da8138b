"""Models compared case by case: which is better, by how much, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from nnunet_ext.report.scores import Scores
from nnunet_ext.subjects import Subjects, Units, units_of

MEAN = "mean of labels"
SMALLEST_SAMPLE = 6  # of fewer units Wilcoxon's test cannot reach 0.05
SAME_DICE = 1e-6
N_RESAMPLES, SEED = 5000, 0
CHANCE = 0.05


@dataclass(frozen=True)
class Pair:
    """Two models on the cases that both have.

    Attributes:
        label: what is compared, or `mean of labels`.
        name, baseline: the models.
        n: cases.
        units: their subjects where these are known, else the cases themselves.
        difference: mean over cases of the model's Dice minus the baseline's.
        interval: 95 % of the means of resampled units.
        n_better, n_worse: cases in which the model is the better or the worse one.
        p: of Wilcoxon's signed-rank test on the means of the units, corrected for the number of tests by
            Holm's method; None where there are fewer than 6 units or no differences.
    """

    label: str
    name: str
    baseline: str
    n: int
    units: Units
    difference: float
    interval: tuple[float, float]
    n_better: int
    n_worse: int
    p: float | None = None

    @property
    def is_beyond_chance(self) -> bool:
        """Whether p is below 0.05."""
        return self.p is not None and self.p < CHANCE


def compare(
    models: Sequence[Scores], baseline: Scores, labels: Sequence[str], subjects: Subjects | None = None
) -> list[Pair]:
    """Compare models with one of them, label by label and in their mean, on the cases both have.

    Args:
        models: those to compare; the baseline itself is passed over.
        baseline: the one to compare with.
        labels: by name.
        subjects: whose scans the cases are; those of one subject are one observation then.

    Returns:
        A pair for each model and label of which there are common cases, the mean last.
    """
    pairs = [
        pair
        for one in models
        if one is not baseline
        for label in (*(labels if len(labels) > 1 else ()), MEAN)
        if (pair := _pair(one, baseline, label, subjects)) is not None
    ]
    return _corrected(pairs)


def _pair(one: Scores, baseline: Scores, label: str, subjects: Subjects | None) -> Pair | None:
    common = [case for case in one.cases if case in baseline.cases]
    values = ((case, _value(one, case, label), _value(baseline, case, label)) for case in common)
    known = {case: a - b for case, a, b in values if a is not None and b is not None}
    if not known:
        return None
    differences, units = np.array(list(known.values())), units_of(list(known), subjects)
    _, unit_of = np.unique(units.of_cases, return_inverse=True)
    sums, numbers = np.bincount(unit_of, differences), np.bincount(unit_of)
    return Pair(
        label,
        one.name,
        baseline.name,
        len(differences),
        units,
        fmean(differences),
        _interval(sums, numbers),
        int((differences > SAME_DICE).sum()),
        int((differences < -SAME_DICE).sum()),
        _p(sums / numbers),
    )


def _value(scores: Scores, case_id: str, label: str) -> float | None:
    return scores.case_mean(case_id) if label == MEAN else scores.dice(case_id, label)


def _interval(sums: np.ndarray, numbers: np.ndarray) -> tuple[float, float]:
    """Of the mean over cases, from the sum of differences and the number of cases of each unit."""
    draws = np.random.default_rng(SEED).integers(0, len(sums), (N_RESAMPLES, len(sums)))
    low, high = np.percentile(sums[draws].sum(axis=1) / numbers[draws].sum(axis=1), (2.5, 97.5))
    return float(low), float(high)


def _p(differences: np.ndarray) -> float | None:
    from scipy.stats import wilcoxon

    if len(differences) < SMALLEST_SAMPLE or not (np.abs(differences) > SAME_DICE).any():
        return None
    return float(wilcoxon(differences, zero_method="pratt").pvalue)


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """Holm's method: the smallest p times the number of tests, the next times one less, never falling."""
    order = sorted((i for i, pair in enumerate(pairs) if pair.p is not None), key=lambda i: pairs[i].p or 0.0)
    corrected, highest = list(pairs), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (pairs[i].p or 0.0) * (len(order) - rank)))
        corrected[i] = replace(pairs[i], p=highest)
    return corrected
