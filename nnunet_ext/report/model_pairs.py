"""Pairs of models, each compared with a baseline by the paired differences of `metrics.compare`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nnunet_ext.metrics.compare import PairedDifference, holm_correction, paired_differences
from nnunet_ext.metrics.dice import MEAN_OF_LABELS
from nnunet_ext.nnunet.subjects import Subjects, Units
from nnunet_ext.report.model_dice import ModelDice

CHANCE = 0.05


@dataclass(frozen=True)
class ModelPair:
    """The comparison of a model with a baseline, in one label or in the mean of labels.

    Attributes:
        label: name of the label, or `mean of labels`.
        name: name of the model.
        baseline: name of the baseline.
        paired: the model's Dice less the baseline's, on the cases that both have.
        p: p of Wilcoxon's signed-rank test, corrected for the number of tests by Holm's method; None where
            there are fewer than 6 units or no differences.
    """

    label: str
    name: str
    baseline: str
    paired: PairedDifference
    p: float | None = None

    @property
    def n(self) -> int:
        """The number of cases compared."""
        return self.paired.n_cases

    @property
    def units(self) -> Units:
        """The subjects of these cases where they are known, else the cases."""
        return self.paired.units

    @property
    def difference(self) -> float:
        """The mean difference."""
        return self.paired.difference.mean or 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean difference."""
        return self.paired.difference.low or 0.0, self.paired.difference.high or 0.0

    @property
    def is_beyond_chance(self) -> bool:
        """Whether p is below 0.05."""
        return self.p is not None and self.p < CHANCE


def compare_models(
    models: Sequence[ModelDice], baseline: ModelDice, labels: Sequence[str], subjects: Subjects | None = None
) -> list[ModelPair]:
    """Compare models with a baseline, label by label and in the mean of labels, on the cases both have.

    Args:
        models: the models to compare; the baseline itself is left out.
        baseline: the model to compare with.
        labels: names of the labels.
        subjects: whose scans the cases are; the cases of one subject are then one observation.

    Returns:
        A pair for each model and label of which there are common cases, the mean of labels last.
    """
    found = [
        (label, one.name, paired)
        for one in models
        if one is not baseline
        for label, paired in _differences(one, baseline, labels, subjects)
    ]
    corrected = holm_correction([paired.p_value() for _, _, paired in found])
    return [
        ModelPair(label, name, baseline.name, paired, p)
        for (label, name, paired), p in zip(found, corrected, strict=True)
    ]


def _differences(
    one: ModelDice, baseline: ModelDice, labels: Sequence[str], subjects: Subjects | None
) -> Iterator[tuple[str, PairedDifference]]:
    """Yield the difference of each label, where there are several, and of the mean of labels."""
    common = [case for case in one.cases if case in baseline.cases]
    by_label, overall = paired_differences(baseline.cases, one.cases, common, labels, subjects)
    each = by_label if len(labels) > 1 else {}
    for label, paired in {**each, MEAN_OF_LABELS: overall}.items():
        if paired.n_cases:
            yield label, paired
