"""Dice of each label, where a label that a case does not hold is neither 0 nor NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.labels import Labels

Segmentation = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class LabelDice:
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


def case_dice(prediction: Segmentation, reference: Segmentation, labels: Labels) -> dict[str, LabelDice]:
    """Compare one prediction with its reference, for every label or region but the background.

    Args:
        prediction: labels in any shape.
        reference: labels in the same shape.
        labels: those of the data set; a region counts the voxels of all its parts.

    Returns:
        By label name, in the data set's order.

    Raises:
        GeometryMismatch: the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise GeometryMismatch(
            f"the prediction has shape {prediction.shape}, the reference {reference.shape}."
        )
    return {labels.names[i]: _label_dice(prediction, reference, labels.covered[i]) for i in labels.foreground}


def _label_dice(prediction: Segmentation, reference: Segmentation, values: Sequence[int]) -> LabelDice:
    predicted, expected = np.isin(prediction, values), np.isin(reference, values)
    counts = (np.count_nonzero(mask) for mask in (expected, predicted, expected & predicted))
    return LabelDice(*map(int, counts))


def summarize(cases: Iterable[Mapping[str, LabelDice]]) -> dict[str, DiceSummary]:
    """Each label's Dice over all cases, in the order of the first case's labels; no cases, no labels."""
    known = list(cases)
    return {name: _summarize_label([case[name] for case in known]) for name in (known[0] if known else ())}


def _summarize_label(found: Sequence[LabelDice]) -> DiceSummary:
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
