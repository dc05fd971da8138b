"""Voxel counts of a label in a case, their Dice, and means over cases and labels; without numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Overlap:
    """How well one label of one case was found.

    Attributes:
        n_reference: voxels of the label in the reference.
        n_predicted: voxels of the label in the prediction.
        n_common: voxels of the label in both.
    """

    n_reference: int
    n_predicted: int
    n_common: int

    @property
    def dice(self) -> float | None:
        """Dice in 0..1; None where the reference does not hold the label."""
        if self.n_reference == 0:
            return None
        return 2 * self.n_common / (self.n_reference + self.n_predicted)

    @property
    def iou(self) -> float | None:
        """Intersection over union in 0..1; None where the reference does not hold the label."""
        if self.n_reference == 0:
            return None
        return self.n_common / (self.n_reference + self.n_predicted - self.n_common)

    @property
    def volumetric_similarity(self) -> float | None:
        """1 where both volumes are equal, 0 where one is nothing; None without the label in the reference.

        Source: Taha and Hanbury, BMC Medical Imaging 15 (2015) 29, equation 21.
        """
        if self.n_reference == 0:
            return None
        return 1 - abs(self.n_predicted - self.n_reference) / (self.n_predicted + self.n_reference)

    @property
    def is_false_alarm(self) -> bool:
        """Whether the label was predicted in a case that does not hold it."""
        return self.n_reference == 0 and self.n_predicted > 0


@dataclass(frozen=True)
class DiceSummary:
    """One label over many cases.

    Attributes:
        mean: mean Dice over the cases that hold the label; None where none does.
        n_cases: all cases.
        n_holding: cases whose reference holds the label.
        n_false_alarms: cases without the label in which it was predicted.
    """

    mean: float | None
    n_cases: int
    n_holding: int
    n_false_alarms: int


def summarize(cases: Iterable[Mapping[str, Overlap]]) -> dict[str, DiceSummary]:
    """Each label's Dice over all cases, in the order of the first case's labels; no cases, no labels."""
    known = list(cases)
    return {name: _summarize_label([case[name] for case in known]) for name in (known[0] if known else ())}


def _summarize_label(found: Sequence[Overlap]) -> DiceSummary:
    values = [one.dice for one in found if one.dice is not None]
    return DiceSummary(
        mean=fmean(values) if values else None,
        n_cases=len(found),
        n_holding=len(values),
        n_false_alarms=sum(one.is_false_alarm for one in found),
    )


def mean_over_labels(summaries: Mapping[str, DiceSummary]) -> float | None:
    """Mean of the labels' means, each label counting alike; None where no case holds any label."""
    means = [summary.mean for summary in summaries.values() if summary.mean is not None]
    return fmean(means) if means else None
