"""Dice of a label in one case, its mean over cases, and the mean of labels; without numpy.

These are the only definitions: report, `evaluate`, `tune`, `results`, `prune` and the demo call them.

- A label that the reference of a case does not hold has no Dice in that case, whether it is predicted or not.
- A label's mean is over the cases that hold the label.
- The mean of labels is the mean over labels of these means, each label counting alike; labels that no case
  holds are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

MEAN_OF_LABELS = "mean of labels"
MEAN_OF_LABELS_DEFINED = "mean of labels: mean over labels of each label's mean over the cases that hold it"


@dataclass(frozen=True)
class Overlap:
    """Overlap of one label of a prediction with its reference, in one case.

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
        return self.nnunet_dice if self.n_reference else None

    @property
    def iou(self) -> float | None:
        """Intersection over union in 0..1; None where the reference does not hold the label."""
        return self.nnunet_iou if self.n_reference else None

    @property
    def nnunet_dice(self) -> float | None:
        """Dice as nnU-Net counts it: 0 for a false alarm, None where neither file holds the label."""
        n_either = self.n_reference + self.n_predicted
        return 2 * self.n_common / n_either if n_either else None

    @property
    def nnunet_iou(self) -> float | None:
        """Intersection over union as nnU-Net counts it, with the same exceptions as `nnunet_dice`."""
        n_union = self.n_reference + self.n_predicted - self.n_common
        return self.n_common / n_union if n_union else None

    @property
    def volumetric_similarity(self) -> float | None:
        """1 for equal volumes, 0 where one is empty; None where the reference does not hold the label.

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
    """Dice of one label over many cases.

    Attributes:
        mean: mean Dice over the cases that hold the label; None where no case does.
        n_cases: number of all cases.
        n_holding: number of cases whose reference holds the label.
        n_false_alarms: number of cases without the label in which it was predicted.
    """

    mean: float | None
    n_cases: int
    n_holding: int
    n_false_alarms: int


def summarize(cases: Iterable[Mapping[str, Overlap]]) -> dict[str, DiceSummary]:
    """Summarize the Dice of each label over all cases, in the order of the first case's labels."""
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
    """Return the mean of labels: the mean of the labels' means; None where no case holds any label."""
    means = [summary.mean for summary in summaries.values() if summary.mean is not None]
    return fmean(means) if means else None


def case_mean(case: Mapping[str, Overlap]) -> float | None:
    """Return the mean Dice of one case over the labels that it holds; None where it holds none.

    The mean of this value over cases is not the mean of labels: a label that many cases hold counts more.
    """
    known = [one.dice for one in case.values() if one.dice is not None]
    return fmean(known) if known else None
