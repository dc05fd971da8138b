"""The report's first screen: the best model, the Dice of every model, and what is not finished."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_ext.display.tables import BEST_MODEL, Table
from nnunet_ext.metrics.dice import MEAN_OF_LABELS
from nnunet_ext.monitoring.result_tables import number_cell
from nnunet_ext.monitoring.run import Run
from nnunet_ext.report.blocks import Block, HeadingBlock, ListBlock, TableBlock
from nnunet_ext.report.ensemble import gains
from nnunet_ext.report.material import Material
from nnunet_ext.report.model_dice import ModelDice, best_model, label_names
from nnunet_ext.report.training import course_remarks, never_ran, remarks_by_kind

SHOWN_NOTES = 2
DONE = ("finished", "stopped early")


def summary_blocks(material: Material) -> list[Block]:
    """The best model, the mean Dice of each model per label, unfinished folds, and remarks."""
    best = best_model(material.model_dice)
    blocks: list[Block] = []
    if best is not None:
        words = (
            f"The best single model in validation is {best.name}: mean Dice {number_cell(best.mean)} over "
            f"{_counted(len(best.labels), 'label')} and {_counted(len(best.cases), 'case')}."
        )
        blocks += [HeadingBlock(words), TableBlock(_dice_table(material.model_dice, best))]
    blocks.append(ListBlock((_counts(material), *_unfinished(material), *gains(material))))
    remarks = _remarks(material)
    return [*blocks, HeadingBlock("Remarks"), ListBlock(tuple(remarks))] if remarks else blocks


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _dice_table(every: Sequence[ModelDice], best: ModelDice) -> Table:
    """A row for each model, the highest mean first; the best single model is marked."""
    labels = label_names(every)
    rows = tuple(
        (
            one.name,
            *(number_cell(one.labels[label].mean if label in one.labels else None) for label in labels),
            number_cell(one.mean),
            str(len(one.cases)),
            BEST_MODEL if one is best else "",
        )
        for one in sorted(every, key=lambda one: -(one.mean or 0.0))
    )
    header = ("model", *labels, MEAN_OF_LABELS, "cases", "")
    return Table(header, rows, "Mean Dice in validation, each label over the cases that hold it")


def _counts(material: Material) -> str:
    states = ["never ran" if never_ran(run) else run.state for run in material.runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{_counted(len(material.models), 'model')}, {_counted(len(states), 'fold')}: {counts}."


def _unfinished(material: Material) -> list[str]:
    """A sentence for each fold that began and is not finished, with its reason."""
    return [
        f"Unfinished: {name}, fold {run.folder.fold}: {run.state}{_progress(run)}."
        for name, runs in material.models.items()
        for run in runs
        if run.state not in DONE and not never_ran(run)
    ]


def _progress(run: Run) -> str:
    reason = run.standing.reason
    if run.state in ("running", "stalled") or not reason:
        of = "" if run.planned is None else f" of {run.planned}"
        reason = "; ".join(filter(None, (f"{run.n_done}{of} epochs are done", reason)))
    return f" {reason}" if reason.startswith(("after ", "before ", "by ")) else f", {reason}"


def _remarks(material: Material) -> list[str]:
    said = []
    tuning = material.plan.tuning
    if tuning is not None:
        chosen, n_cases = tuning.chosen, tuning.n_cases
        said.append(
            f"Tuning on {_counted(n_cases, 'case')} recommends {chosen.name}: held-out score "
            f"{number_cell(chosen.held_out)} (standard error {number_cell(chosen.standard_error)})."
        )
    for name, runs in material.models.items():
        found = remarks_by_kind(remark for run in runs for remark in course_remarks(run))
        said += [f"{name}: {'; '.join(found)}."] if found else []
        said += [
            f"{name}, fold {run.folder.fold}: {note}." for run in runs for note in _first_notes(run.notes)
        ]
    return [*said, *(f"{text}." for one in material.model_dice for text in one.notes)]


def _first_notes(notes: Sequence[str]) -> list[str]:
    """The first notes, and the number of the others, which `nnunet_ext results` prints."""
    more = len(notes) - SHOWN_NOTES
    return [
        *notes[:SHOWN_NOTES],
        *([f"{more} more notes; nnunet_ext results prints them"] if more > 0 else []),
    ]
