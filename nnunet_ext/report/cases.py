"""The report's sections on cases: the Dice of each, and overlays of the best, median and worst case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from nnunet_ext.display.tables import Table
from nnunet_ext.display.themes import DPI
from nnunet_ext.errors import NnunetExtError
from nnunet_ext.monitoring.result_tables import number_cell
from nnunet_ext.report.blocks import (
    NO_VALIDATION,
    Block,
    MissingBlock,
    PictureBlock,
    TableBlock,
    TextBlock,
)
from nnunet_ext.report.case_overlays import OverlayFiles, read_overlay
from nnunet_ext.report.material import Material
from nnunet_ext.report.model_dice import ModelDice, best_model, label_names
from nnunet_ext.report.overlays import OverlayCase, draw_overlays
from nnunet_ext.report.pictures import draw_case_points

N_WORST = 10


def case_blocks(material: Material) -> list[Block]:
    """The Dice of each case as a point, the worst cases, and false alarms."""
    labels = label_names(material.model_dice)
    best = best_model(material.model_dice)
    if best is None:
        return [NO_VALIDATION]
    text = "Dice of each case, per label and model; the bar is the median, the worst case is named"
    picture = PictureBlock.drawn(
        "cases", text, lambda theme: draw_case_points(material.model_dice, labels, theme)
    )
    blocks: list[Block] = [picture, TableBlock(_worst(material.model_dice, best, labels))]
    alarms = _false_alarms(material.model_dice)
    return [*blocks, TableBlock(alarms)] if alarms else blocks


def _worst(every: Sequence[ModelDice], best: ModelDice, labels: Sequence[str]) -> Table:
    others = [one for one in every if one is not best]
    header = (
        "case",
        *labels,
        *(["mean of the case"] if len(labels) > 1 else []),
        *(one.name for one in others),
    )
    rows = tuple(
        (
            case,
            *(number_cell(best.dice(case, label)) for label in labels),
            *([number_cell(best.case_mean(case))] if len(labels) > 1 else []),
            *(number_cell(one.case_mean(case)) for one in others),
        )
        for case in best.ranked()[:N_WORST]
    )
    also = ", and the means of the other models" if others else ""
    return Table(header, rows, f"The worst {len(rows)} cases of {best.name}: Dice per label{also}")


def _false_alarms(every: Sequence[ModelDice]) -> Table | None:
    found = [
        (overlap.n_predicted, one.name, case, label)
        for one in every
        for case, labels in one.cases.items()
        for label, overlap in labels.items()
        if overlap.is_false_alarm
    ]
    rows = tuple((*names, str(n_voxels)) for n_voxels, *names in sorted(found, key=lambda one: -one[0]))
    more = f" (the largest {N_WORST} of {len(rows)})" if len(rows) > N_WORST else ""
    title = f"False alarms: labels found in cases that do not hold them{more}"
    return Table(("model", "case", "label", "voxels"), rows[:N_WORST], title) if rows else None


def overlay_blocks(material: Material) -> list[Block]:
    """Overlays of the best, the median and the worst case of the best model."""
    best, dataset = best_model(material.model_dice), material.dataset
    if best is None or dataset is None:
        return [NO_VALIDATION]
    scans = material.scans(dataset.file_ending)
    if not scans:
        return [
            MissingBlock("The scans are not there: set nnUNet_raw to the folder that holds the data set.")
        ]
    references = material.references(dataset.file_ending)
    drawn: list[OverlayCase] = []
    faults: list[str] = []
    for what, case in _chosen(best):
        segmentation = best.folders[case] / f"{case}{dataset.file_ending}"
        title = f"{what}: {case}    {_dice_words(best, case)}"
        try:
            if case not in scans:
                raise NnunetExtError(f"imagesTr has no scan of {case}.")
            drawn.append(read_overlay(OverlayFiles(title, scans[case], segmentation, references.get(case))))
        except (NnunetExtError, OSError, MemoryError) as error:
            faults.append(f"{what} case {case} is not shown: {error}")
    note = (
        f"Cases of {best.name}: the bare scan, then three planes through the slices with the most "
        "wrong voxels, or the slices of a stack of few thick ones. Coloured lines are predicted, the wide "
        "white ones beneath them the reference."
    )
    blocks: list[Block] = [TextBlock(note)] if drawn else []
    if drawn:
        with TemporaryDirectory() as folder:
            target = Path(folder) / "overlays.png"
            draw_overlays(drawn, dataset.labels.covered_by_name, target, DPI)
            text = "Scan with contours of " + "; ".join(case.title for case in drawn)
            blocks.append(PictureBlock("overlays", text, target.read_bytes()))
    return [*blocks, *map(MissingBlock, faults)]


def _chosen(best: ModelDice) -> list[tuple[str, str]]:
    """The words `best`, `median` and `worst`, each with its case; a case appears once."""
    ranked = best.ranked()
    if not ranked:
        return []
    named = {"best": ranked[-1], "median": ranked[len(ranked) // 2], "worst": ranked[0]}
    by_case: dict[str, str] = {}
    for what, case in named.items():
        by_case.setdefault(case, what)
    return [(what, case) for case, what in by_case.items()]


def _dice_words(model_dice: ModelDice, case: str) -> str:
    return "   ".join(
        f"{label.replace('_', ' ')} {'false alarm' if one.is_false_alarm else number_cell(one.dice)}"
        for label, one in model_dice.cases[case].items()
    )
