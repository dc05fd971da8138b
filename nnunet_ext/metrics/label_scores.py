"""Summarize the measures of each label over many cases, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.metrics.case_scores import CaseScores
from nnunet_ext.metrics.intervals import Interval, bootstrap_intervals

Measure = Callable[[CaseScores, int], float | None]
MEASURES: dict[str, Measure] = {
    "dice": lambda case, label: case.overlaps[label].dice,
    "iou": lambda case, label: case.overlaps[label].iou,
    "volumetric_similarity": lambda case, label: case.overlaps[label].volumetric_similarity,
}
SURFACE_MEASURES: dict[str, Measure] = {
    "hd95_mm": lambda case, label: case.surfaces[label].hd95_mm,
    "surface_dice": lambda case, label: case.surfaces[label].surface_dice,
}


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """Measures of one label over all cases.

    Attributes:
        name: the label's name.
        n_cases: all cases.
        n_holding: cases whose reference holds the label; means are over them.
        n_predicted: cases whose prediction holds it.
        n_missed: cases that hold it and in which nothing of it was predicted; they have no HD95.
        n_false_alarms: cases without it in which it was predicted.
        means: mean and interval of each measure; all None where no case holds the label.
    """

    name: str
    n_cases: int
    n_holding: int
    n_predicted: int
    n_missed: int
    n_false_alarms: int
    means: dict[str, Interval]


def measures_of(scores: Sequence[CaseScores], missed_hd95_mm: float | None = None) -> dict[str, Measure]:
    """Return the measures that these comparisons hold.

    Args:
        scores: the comparisons.
        missed_hd95_mm: what HD95 is where only one of prediction and reference holds a label; the surface
            Dice of a false alarm is then 0. None: neither is a value there.
    """
    if not scores or not scores[0].surfaces:
        return MEASURES
    if missed_hd95_mm is None:
        return MEASURES | SURFACE_MEASURES
    return MEASURES | {
        "hd95_mm": _with_penalty(SURFACE_MEASURES["hd95_mm"], missed_hd95_mm),
        "surface_dice": _with_penalty(SURFACE_MEASURES["surface_dice"], 0.0),
    }


def _with_penalty(measure: Measure, penalty: float) -> Measure:
    def penalized(case: CaseScores, label: int) -> float | None:
        one = case.overlaps[label]
        return penalty if (one.n_reference > 0) != (one.n_predicted > 0) else measure(case, label)

    return penalized


def score_labels(
    scores: Sequence[CaseScores],
    names: Sequence[str],
    units: Sequence[str] | None = None,
    missed_hd95_mm: float | None = None,
) -> tuple[tuple[LabelScores, ...], dict[str, Interval]]:
    """Summarize each label over all cases.

    Args:
        scores: one a case, all of the same labels.
        names: names of the labels, in their order.
        units: what each case belongs to, such as its subject; None takes each case for itself.
        missed_hd95_mm: as in `measures_of`.

    Returns:
        Each label's scores, and by measure the mean of the labels' means.
    """
    intervals = {
        name: bootstrap_intervals(_table(scores, names, one), units)
        for name, one in measures_of(scores, missed_hd95_mm).items()
    }
    each = tuple(
        _label(scores, k, name, {measure: found[0][k] for measure, found in intervals.items()})
        for k, name in enumerate(names)
    )
    return each, {measure: found[1] for measure, found in intervals.items()}


def _table(scores: Sequence[CaseScores], names: Sequence[str], measure: Measure) -> NDArray[np.float64]:
    rows = [[measure(case, label) for label in range(len(names))] for case in scores]
    return np.array(rows, dtype=np.float64).reshape(len(scores), len(names))  # None becomes NaN


def _label(scores: Sequence[CaseScores], label: int, name: str, means: dict[str, Interval]) -> LabelScores:
    found = [case.overlaps[label] for case in scores]
    return LabelScores(
        name=name,
        n_cases=len(found),
        n_holding=sum(one.n_reference > 0 for one in found),
        n_predicted=sum(one.n_predicted > 0 for one in found),
        n_missed=sum(one.n_reference > 0 and one.n_predicted == 0 for one in found),
        n_false_alarms=sum(one.is_false_alarm for one in found),
        means=means,
    )
