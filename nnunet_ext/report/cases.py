"""The cases: their Dice, the worst of them, models compared, and pictures of some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from nnunet_ext.display.tables import NOTHING, Table
from nnunet_ext.display.themes import DPI
from nnunet_ext.errors import NnunetExtError
from nnunet_ext.monitoring.result_tables import number
from nnunet_ext.report.blocks import NO_VALIDATION, Block, Grid, Items, Missing, Picture, Text
from nnunet_ext.report.case_overlays import CaseFiles, read_overlay
from nnunet_ext.report.material import Material
from nnunet_ext.report.model_pairs import MEAN, Pair, compare
from nnunet_ext.report.overlays import OverlayCase, draw_overlays
from nnunet_ext.report.points import draw_points
from nnunet_ext.report.scores import Scores, best_of, label_names

N_WORST = 10


def case_blocks(material: Material) -> list[Block]:
    """Each case's Dice as a point, then the worst cases by name."""
    labels = label_names(material.scores)
    best = best_of(material.scores)
    if best is None:
        return [NO_VALIDATION]
    text = "Dice of each case, per label and model; the bar is the median, the worst case is named"
    picture = Picture.drawn("cases", text, lambda theme: draw_points(material.scores, labels, theme))
    blocks: list[Block] = [picture, Grid(_worst(material.scores, best, labels))]
    alarms = _false_alarms(material.scores)
    return [*blocks, Grid(alarms)] if alarms else blocks


def _worst(every: Sequence[Scores], best: Scores, labels: Sequence[str]) -> Table:
    others = [scores for scores in every if scores is not best]
    header = (
        "case",
        *labels,
        *(["mean of the case"] if len(labels) > 1 else []),
        *(one.name for one in others),
    )
    rows = tuple(
        (
            case,
            *(number(best.dice(case, label)) for label in labels),
            *([number(best.case_mean(case))] if len(labels) > 1 else []),
            *(number(one.case_mean(case)) for one in others),
        )
        for case in best.ranked()[:N_WORST]
    )
    also = ", and the means of the other models" if others else ""
    return Table(header, rows, f"The worst {len(rows)} cases of {best.name}: Dice per label{also}")


def _false_alarms(every: Sequence[Scores]) -> Table | None:
    found = [
        (one.n_predicted, scores.name, case, label)
        for scores in every
        for case, labels in scores.cases.items()
        for label, one in labels.items()
        if one.is_false_alarm
    ]
    rows = tuple((*names, str(n_voxels)) for n_voxels, *names in sorted(found, key=lambda one: -one[0]))
    more = f" (the largest {N_WORST} of {len(rows)})" if len(rows) > N_WORST else ""
    title = f"False alarms: labels found in cases that do not hold them{more}"
    return Table(("model", "case", "label", "voxels"), rows[:N_WORST], title) if rows else None


def pair_blocks(material: Material) -> list[Block]:
    """Every model against the best, case by case."""
    best = best_of(material.scores)
    if best is None:
        return [NO_VALIDATION]
    if len(material.scores) < 2:
        hint = "train another configuration or trainer, or name another folder of segmentations with -i"
        return [Missing(f"There is one model with validated cases, and nothing to compare it with; {hint}.")]
    pairs = compare(material.scores, best, label_names(material.scores), material.subjects)
    if not pairs:
        return [Missing(f"No model has cases in common with {best.name}; validate them on the same folds.")]
    words = Items(tuple(_in_words(pair) for pair in pairs if pair.label == MEAN))
    note = (
        f"Every model against {best.name}, on the cases that both have. {MEAN.capitalize()}: the mean over "
        f"labels of each label's mean over the cases that hold it. {_about_units(pairs)} p is "
        "corrected by Holm's method for all tests of this table. Cases of cross-validation share training "
        "cases, so p is rather too small."
    )
    return [Text(note), words, Grid(_pair_table(pairs))]


def _about_units(pairs: Sequence[Pair]) -> str:
    """What was resampled and tested."""
    if any(pair.units.are_subjects for pair in pairs):
        return (
            "In brackets, 95 % of the means of resampled subjects, each with all its cases; p of Wilcoxon's "
            "signed-rank test on the subjects' means."
        )
    return (
        "In brackets, 95 % of the means of resampled cases; p of Wilcoxon's signed-rank test. No subjects "
        "are known; where a subject has several cases, both are too sure: tell them with nnunet_ext splits."
    )


def _in_words(pair: Pair) -> str:
    if pair.p is None:
        verdict = "of which nobody can say whether it is chance"
    else:
        verdict = f"{'beyond' if pair.is_beyond_chance else 'which may be'} chance (p {pair.p:.2g})"
    relation = "below" if pair.difference < 0 else "above"
    return (
        f"{pair.name} is {abs(pair.difference):.3f} {relation} {pair.baseline} over {pair.n} cases, "
        f"{verdict}: better in {pair.n_better}, worse in {pair.n_worse}."
    )


def _pair_table(pairs: Sequence[Pair]) -> Table:
    header = ("model", "label", "cases", "subjects", "difference", "95 % interval", "better", "worse", "p")
    rows = tuple(
        (
            pair.name,
            pair.label,
            str(pair.n),
            str(pair.units.n) if pair.units.are_subjects else NOTHING,
            f"{pair.difference:+.3f}",
            f"[{pair.interval[0]:+.3f}, {pair.interval[1]:+.3f}]",
            str(pair.n_better),
            str(pair.n_worse),
            NOTHING if pair.p is None else f"{pair.p:.2g}",
        )
        for pair in pairs
    )
    return Table(header, rows)


def overlay_blocks(material: Material) -> list[Block]:
    """The best, the median and the worst case of the best model."""
    best, dataset = best_of(material.scores), material.description
    if best is None or dataset is None:
        return [NO_VALIDATION]
    scans = material.folders.scans(dataset.file_ending)
    if not scans:
        return [Missing("The scans are not there: set nnUNet_raw to the folder that holds the data set.")]
    references = material.folders.references(dataset.file_ending)
    drawn: list[OverlayCase] = []
    faults: list[str] = []
    for what, case in _chosen(best):
        segmentation = best.folders[case] / f"{case}{dataset.file_ending}"
        title = f"{what}: {case}    {_dice_in_words(best, case)}"
        try:
            if case not in scans:
                raise NnunetExtError(f"imagesTr has no scan of {case}.")
            drawn.append(read_overlay(CaseFiles(title, scans[case], segmentation, references.get(case))))
        except (NnunetExtError, OSError, MemoryError) as error:
            faults.append(f"{what} case {case} is not shown: {error}")
    note = (
        f"Cases of {best.name}: the bare scan, then three planes through the slices with the most "
        "wrong voxels. Solid lines are predicted, dotted ones the reference."
    )
    blocks: list[Block] = [Text(note)] if drawn else []
    if drawn:
        with TemporaryDirectory() as folder:
            target = Path(folder) / "overlays.png"
            draw_overlays(drawn, dataset.labels.covered_by_name, target, DPI)
            text = "Scan with contours of " + "; ".join(case.title for case in drawn)
            blocks.append(Picture("overlays", text, target.read_bytes()))
    return [*blocks, *map(Missing, faults)]


def _chosen(best: Scores) -> list[tuple[str, str]]:
    """What to show, and of which case; a case is shown once."""
    ranked = best.ranked()
    if not ranked:
        return []
    named = {"best": ranked[-1], "median": ranked[len(ranked) // 2], "worst": ranked[0]}
    by_case: dict[str, str] = {}
    for what, case in named.items():
        by_case.setdefault(case, what)
    return [(what, case) for case, what in by_case.items()]


def _dice_in_words(scores: Scores, case: str) -> str:
    return "   ".join(
        f"{label.replace('_', ' ')} {'false alarm' if one.is_false_alarm else number(one.dice)}"
        for label, one in scores.cases[case].items()
    )
