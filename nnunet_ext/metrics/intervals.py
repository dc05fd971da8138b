"""How sure a mean over cases is: intervals by resampling the cases, or the subjects whose scans they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 5000
LEVEL = 0.95
SEED = 20240229
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds it with a probability of 0.95; all None without any value."""

    mean: float | None
    low: float | None
    high: float | None


NO_INTERVAL = Interval(None, None, None)


def bootstrap(values: Values, units: Sequence[str] | None = None) -> tuple[tuple[Interval, ...], Interval]:
    """Intervals of each label's mean, and of the mean of those means.

    Args:
        values: `(cases, labels)`, NaN where a case does not count for a label.
        units: what each case belongs to, such as its subject; None draws single cases.

    Returns:
        One interval a label, and that of the mean over the labels that have one. Whole units are
        drawn with replacement, from a fixed seed, so that the labels of a case and the cases of a
        unit stay together; a draw without any value of a label does not count for it. Means are
        over cases, however many of them a unit has.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), the percentile interval;
    Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8, for units of several cases.
    """
    n_cases = len(values)
    if n_cases == 0:
        return (NO_INTERVAL,) * values.shape[1], NO_INTERVAL
    unit_of = np.arange(n_cases) if units is None else np.unique(units, return_inverse=True)[1]
    n_units = int(unit_of.max()) + 1
    drawn = np.random.default_rng(SEED).multinomial(n_units, np.full(n_units, 1 / n_units), N_RESAMPLES)
    draws = drawn[:, unit_of]
    means, resampled = _means(values, np.ones((1, n_cases))), _means(values, draws)
    each = tuple(_interval(means[:, k], resampled[:, k]) for k in range(values.shape[1]))
    return each, _interval(_over_labels(means), _over_labels(resampled))


def _means(values: Values, draws: NDArray[np.number]) -> Values:
    """Mean of each label `(draws, labels)`; NaN where a draw has none."""
    held = np.isfinite(values)
    sums, numbers = draws @ np.where(held, values, 0), draws @ held.astype(float)
    return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)


def _over_labels(means: Values) -> Values:
    known = np.isfinite(means)
    return np.where(known.any(1), np.where(known, means, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def _interval(mean: Values, resampled: Values) -> Interval:
    known = resampled[np.isfinite(resampled)]
    if not np.isfinite(mean[0]):
        return NO_INTERVAL
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(mean[0]), float(low), float(high))
