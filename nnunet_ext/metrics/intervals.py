"""Means over cases and labels of a table of values, and their bootstrap intervals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 5000
LEVEL = 0.95
SEED = 20240229
BATCH = 250  # resamples at once, which bounds memory
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its interval at a confidence of 0.95; all three are None without any value."""

    mean: float | None
    low: float | None
    high: float | None


NO_INTERVAL = Interval(None, None, None)


def means_over_cases(values: Values) -> Values:
    """Return each label's mean, `(labels,)` from `(cases, labels)`; NaN values do not count."""
    return _divide(np.where(np.isfinite(values), values, 0).sum(axis=0), np.isfinite(values).sum(axis=0))


def mean_of_means(means: Values) -> Values:
    """Return the mean over the last axis, that of labels; labels whose mean is NaN do not count."""
    return _divide(np.where(np.isfinite(means), means, 0).sum(axis=-1), np.isfinite(means).sum(axis=-1))


def bootstrap_intervals(
    values: Values, units: Sequence[str] | None = None
) -> tuple[tuple[Interval, ...], Interval]:
    """Compute an interval of each label's mean over cases, and of the mean of these means.

    `scipy.stats.bootstrap` draws whole units with replacement, from a fixed seed, so that the labels of a
    case and the cases of a unit stay together. A draw without any value of a label does not count for that
    label. Means are over cases, however many cases a unit has.

    Args:
        values: `(cases, labels)`, NaN where a case does not count for a label.
        units: what each case belongs to, such as its subject; None draws single cases.

    Returns:
        One interval per label, and that of the mean over the labels that have one.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), the percentile interval;
    Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8, for units of several cases.
    """
    n_cases, n_labels = values.shape
    if n_cases == 0:
        return (NO_INTERVAL,) * n_labels, NO_INTERVAL
    means = means_over_cases(values)
    drawn = _resampled_means(values, units)
    each = tuple(_interval(float(means[k]), drawn[k]) for k in range(n_labels))
    return each, _interval(float(mean_of_means(means)), drawn[-1])


def _resampled_means(values: Values, units: Sequence[str] | None) -> Values:
    """Return the labels' means of each draw, and as the last row the mean of them, `(labels + 1, draws)`."""
    from scipy.stats import DegenerateDataWarning, bootstrap  # half a second to import

    unit_of = np.arange(len(values)) if units is None else np.unique(units, return_inverse=True)[1]
    n_units = int(unit_of.max()) + 1
    sums, numbers = np.zeros((2, n_units, values.shape[1]))
    np.add.at(sums, unit_of, np.where(np.isfinite(values), values, 0))
    np.add.at(numbers, unit_of, np.isfinite(values))

    def statistic(drawn: NDArray[np.intp], axis: int) -> Values:
        rows = drawn.reshape(-1, n_units)
        n_drawn = np.stack([np.bincount(row, minlength=n_units) for row in rows])
        means = _divide(n_drawn @ sums, n_drawn @ numbers)
        return np.concatenate([means.T, mean_of_means(means)[None]])

    if n_units == 1:  # nothing to resample, which scipy refuses
        return statistic(np.zeros((1, 1), np.intp), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # of scipy's own interval where a draw is NaN
        result = bootstrap(
            (np.arange(n_units),),
            statistic,
            n_resamples=N_RESAMPLES,
            batch=BATCH,
            method="percentile",
            vectorized=True,
            random_state=np.random.default_rng(SEED),
        )
    return np.asarray(result.bootstrap_distribution)


def _divide(sums: Values, numbers: NDArray[np.number]) -> Values:
    """Divide sums by the numbers of their values; NaN where there is no value."""
    return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)


def _interval(mean: float, drawn: Values) -> Interval:
    if not np.isfinite(mean):
        return NO_INTERVAL
    low, high = np.quantile(drawn[np.isfinite(drawn)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high))
