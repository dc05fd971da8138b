"""Dice of each label, where a label that a case does not hold is neither 0 nor NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from nnunet_ext.label_overlap import Overlap
from nnunet_ext.labels import Labels

if TYPE_CHECKING:
    from nnunet_ext.overlap import Segmentation


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


def case_dice(
    prediction: Segmentation, reference: Segmentation, labels: Labels, ignore: int | None = None
) -> dict[str, Overlap]:
    """Compare one prediction with its reference, for every label or region but the background.

    Args:
        prediction: labels in any shape.
        reference: labels in the same shape.
        labels: those of the data set; a region counts the voxels of all its parts.
        ignore: value of voxels in the reference that do not count.

    Returns:
        By label name, in the data set's order.

    Raises:
        GeometryMismatch: the shapes differ.
    """
    from nnunet_ext.overlap import compare, foreground_names  # numpy, for who compares and not for who reads

    return dict(zip(foreground_names(labels), compare(prediction, reference, labels, ignore), strict=True))


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
