"""The report's section on models compared: each against the best, by `metrics.compare`, case by case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nnunet_ext.display.tables import NOTHING, Table
from nnunet_ext.metrics.compare import PairedDifference, holm_correction, paired_differences
from nnunet_ext.metrics.dice import MEAN_OF_LABELS, MEAN_OF_LABELS_DEFINED
from nnunet_ext.nnunet.subjects import Subjects, Units
from nnunet_ext.report.blocks import NO_VALIDATION, Block, ListBlock, MissingBlock, TableBlock, TextBlock
from nnunet_ext.report.material import Material
from nnunet_ext.report.model_dice import ModelDice, best_model, label_names

CHANCE = 0.05


@dataclass(frozen=True, kw_only=True)
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
        ModelPair(label=label, name=name, baseline=baseline.name, paired=paired, p=p)
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


def pair_blocks(material: Material) -> list[Block]:
    """Every model compared with the best one, case by case."""
    best = best_model(material.model_dice)
    if best is None:
        return [NO_VALIDATION]
    if len(material.model_dice) < 2:
        hint = "train another configuration or trainer, or name another folder of segmentations with -i"
        return [
            MissingBlock(f"There is one model with validated cases, and nothing to compare it with; {hint}.")
        ]
    pairs = compare_models(material.model_dice, best, label_names(material.model_dice), material.subjects)
    if not pairs:
        return [
            MissingBlock(f"No model has cases in common with {best.name}; validate them on the same folds.")
        ]
    words = ListBlock(tuple(_pair_sentence(pair) for pair in pairs if pair.label == MEAN_OF_LABELS))
    note = (
        f"Every model against {best.name}, on the cases that both have. "
        f"{MEAN_OF_LABELS_DEFINED.capitalize()}. {_units_note(pairs)} p is "
        "corrected by Holm's method for all tests of this table. Cases of cross-validation share training "
        "cases, so p is rather too small."
    )
    return [TextBlock(note), words, TableBlock(_pair_table(pairs))]


def _units_note(pairs: Sequence[ModelPair]) -> str:
    """Explains whether subjects or cases were resampled and tested."""
    if any(pair.units.are_subjects for pair in pairs):
        return (
            "In brackets, 95 % of the means of resampled subjects, each with all its cases; p of Wilcoxon's "
            "signed-rank test on the subjects' means."
        )
    return (
        "In brackets, 95 % of the means of resampled cases; p of Wilcoxon's signed-rank test. No subjects "
        "are known; where a subject has several cases, both are too sure: tell them with nnunet_ext splits."
    )


def _pair_sentence(pair: ModelPair) -> str:
    if pair.p is None:
        verdict = "with too few cases to say whether this is chance"
    else:
        verdict = f"{'beyond' if pair.is_beyond_chance else 'which may be'} chance (p {pair.p:.2g})"
    relation = "below" if pair.difference < 0 else "above"
    return (
        f"{pair.name} is {abs(pair.difference):.3f} {relation} {pair.baseline} over {pair.n} cases, "
        f"{verdict}: better in {pair.paired.n_better}, worse in {pair.paired.n_worse}."
    )


def _pair_table(pairs: Sequence[ModelPair]) -> Table:
    header = ("model", "label", "cases", "subjects", "difference", "95 % interval", "better", "worse", "p")
    rows = tuple(
        (
            pair.name,
            pair.label,
            str(pair.n),
            str(pair.units.n) if pair.units.are_subjects else NOTHING,
            f"{pair.difference:+.3f}",
            f"[{pair.interval[0]:+.3f}, {pair.interval[1]:+.3f}]",
            str(pair.paired.n_better),
            str(pair.paired.n_worse),
            NOTHING if pair.p is None else f"{pair.p:.2g}",
        )
        for pair in pairs
    )
    return Table(header, rows)
