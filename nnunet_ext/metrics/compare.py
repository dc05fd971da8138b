"""Two sets of predictions of the same cases, compared case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_ext.errors import UsageError
from nnunet_ext.metrics.dice import Overlap
from nnunet_ext.metrics.intervals import Interval, bootstrap
from nnunet_ext.nnunet.subjects import Subjects, units_of

Scored = Mapping[str, Mapping[str, Overlap]]


@dataclass(frozen=True, kw_only=True)
class LabelDifference:
    """One label under two methods, A and B.

    Attributes:
        n_holding: cases that hold the label in the reference; only they have a Dice.
        mean_a: mean Dice of A over them; None without any.
        mean_b: the same of B.
        difference: B less A, case by case, with its interval.
        n_better: cases in which B is better than A.
        n_worse: cases in which it is worse.
        false_alarms_a: cases without the label in which A predicts it.
        false_alarms_b: the same of B.
    """

    n_holding: int
    mean_a: float | None
    mean_b: float | None
    difference: Interval
    n_better: int
    n_worse: int
    false_alarms_a: int
    false_alarms_b: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two methods on the cases that both predicted.

    Attributes:
        n_cases: that both hold.
        labels: by the label's key.
        overall: the mean over labels of their differences.
        left_out: cases that only one of the two holds.
        resampled: what the intervals resample, in words.
    """

    n_cases: int
    labels: Mapping[str, LabelDifference]
    overall: Interval
    left_out: tuple[str, ...]
    resampled: str


def compare_scores(a: Scored, b: Scored, subjects: Subjects | None = None) -> Comparison:
    """Compare two methods by Dice on the cases that both predicted.

    Args:
        a: overlaps by case and label.
        b: the same; its references must be the same ones.
        subjects: whose scans the cases are, intervals then resample subjects.

    Raises:
        UsageError: no case is in both, they are of other labels, or their references differ.
    """
    cases = sorted(a.keys() & b.keys())
    if not cases:
        raise UsageError(f"No case is in both: A holds {sorted(a)[:3]} …, B {sorted(b)[:3]} ….")
    keys = list(a[cases[0]])
    for case in cases:
        if a[case].keys() != b[case].keys():
            raise UsageError(f"{case}: A has the labels {list(a[case])}, B {list(b[case])}.")
        differing = [k for k in keys if a[case][k].n_reference != b[case][k].n_reference]
        if differing:
            raise UsageError(f"{case}: A and B were compared with other references of {differing}.")
    ours = {key: [(a[case][key], b[case][key]) for case in cases] for key in keys}
    differences = np.array([[_difference(*pair) for pair in ours[key]] for key in keys]).T
    units = units_of(cases, subjects)
    intervals, overall = bootstrap(differences, units.of_cases)
    labels = {key: _label(ours[key], one) for key, one in zip(keys, intervals, strict=True)}
    return Comparison(
        n_cases=len(cases),
        labels=labels,
        overall=overall,
        left_out=tuple(sorted(a.keys() ^ b.keys())),
        resampled=units.words,
    )


def _difference(a: Overlap, b: Overlap) -> float:
    return np.nan if a.dice is None or b.dice is None else b.dice - a.dice


def _label(pairs: Sequence[tuple[Overlap, Overlap]], difference: Interval) -> LabelDifference:
    held = [(a.dice, b.dice) for a, b in pairs if a.dice is not None and b.dice is not None]
    return LabelDifference(
        n_holding=len(held),
        mean_a=sum(a for a, _ in held) / len(held) if held else None,
        mean_b=sum(b for _, b in held) / len(held) if held else None,
        difference=difference,
        n_better=sum(b > a for a, b in held),
        n_worse=sum(b < a for a, b in held),
        false_alarms_a=sum(a.is_false_alarm for a, _ in pairs),
        false_alarms_b=sum(b.is_false_alarm for _, b in pairs),
    )
