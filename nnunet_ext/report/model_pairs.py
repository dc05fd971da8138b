"""Models compared case by case: which is better, by how much, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.metrics.intervals import bootstrap
from nnunet_ext.nnunet.subjects import Subjects, Units, units_of
from nnunet_ext.report.model_dice import ModelDice

MEAN = "mean of labels"
SMALLEST_SAMPLE = 6  # of fewer units Wilcoxon's test cannot reach 0.05
SAME_DICE = 1e-6
CHANCE = 0.05


@dataclass(frozen=True)
class Pair:
    """Two models on the cases that both have.

    Attributes:
        label: what is compared, or `mean of labels`.
        name, baseline: the models.
        n: cases.
        units: their subjects where these are known, else the cases themselves.
        difference: mean over cases of the model's Dice minus the baseline's; `mean of labels` is the mean
            over labels of those, as everywhere.
        interval: 95 % of what resampled units give.
        n_better, n_worse: cases in which the model is the better or the worse one; for the mean of labels by
            the mean of the labels that a case holds.
        p: of Wilcoxon's signed-rank test on the means of the units, corrected for the number of tests by
            Holm's method; None where there are fewer than 6 units or no differences. For the mean of labels
            it is that of the cases' own means.
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
    models: Sequence[ModelDice], baseline: ModelDice, labels: Sequence[str], subjects: Subjects | None = None
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
        pair for one in models if one is not baseline for pair in _pairs(one, baseline, labels, subjects)
    ]
    return _corrected(pairs)


def _pairs(
    one: ModelDice, baseline: ModelDice, labels: Sequence[str], subjects: Subjects | None
) -> Iterator[Pair]:
    """The comparison of each label, where there are several, and of their mean."""
    common = [case for case in one.cases if case in baseline.cases]
    values = np.array([[_difference(one, baseline, case, label) for label in labels] for case in common])
    if not np.isfinite(values).any():
        return
    units = units_of(common, subjects)
    each, overall = bootstrap(values, units.of_cases)
    columns = [*zip(labels, each, values.T, strict=True)] if len(labels) > 1 else []
    with np.errstate(invalid="ignore"):
        of_cases = np.nansum(values, axis=1) / np.isfinite(values).sum(axis=1)  # NaN where a case has none
    for label, interval, differences in (*columns, (MEAN, overall, of_cases)):
        known = np.isfinite(differences)
        if interval.mean is None or interval.low is None or interval.high is None:
            continue
        cases = [case for case, is_known in zip(common, known, strict=True) if is_known]
        yield Pair(
            label,
            one.name,
            baseline.name,
            len(cases),
            units_of(cases, subjects),
            interval.mean,
            (interval.low, interval.high),
            int((differences[known] > SAME_DICE).sum()),
            int((differences[known] < -SAME_DICE).sum()),
            _p(_unit_means(differences[known], units_of(cases, subjects))),
        )


def _difference(one: ModelDice, baseline: ModelDice, case_id: str, label: str) -> float:
    mine, its = one.dice(case_id, label), baseline.dice(case_id, label)
    return np.nan if mine is None or its is None else mine - its


def _unit_means(differences: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    unit_of = np.unique(units.of_cases, return_inverse=True)[1]
    means: NDArray[np.float64] = np.bincount(unit_of, differences) / np.bincount(unit_of)
    return means


def _p(differences: NDArray[np.float64]) -> float | None:
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
