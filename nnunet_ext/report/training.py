"""How the trainings went: the results, the curves, and what was used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from nnunet_ext.display.tables import NOTHING, Table
from nnunet_ext.monitoring.result_tables import number, result_tables
from nnunet_ext.monitoring.run import Run
from nnunet_ext.report.blocks import NO_VALIDATION, Block, Grid, Heading, Items, Missing, Picture
from nnunet_ext.report.curves import draw_curves
from nnunet_ext.report.ensemble import gains
from nnunet_ext.report.material import Material
from nnunet_ext.report.remarks import remarks, summary
from nnunet_ext.report.scores import best_of
from nnunet_ext.report.training_record import settings, used

SHOWN_NOTES = 2


def short_blocks(material: Material) -> list[Block]:
    """The page in a few sentences."""
    n_models, n_runs = len(material.models), len(material.runs)
    states = [run.state for run in material.runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    said = [f"{_some(n_models, 'model')}, {_some(n_runs, 'fold')}: {counts}."]
    best = best_of(material.scores)
    if best is not None:
        said.append(
            f"The best single model in validation is {best.name}: mean Dice {number(best.mean)} over "
            f"{_some(len(best.labels), 'label')} and {_some(len(best.cases), 'case')}."
        )
    said += gains(material)
    if material.tuning is not None:
        chosen, n_cases = material.tuning.chosen, material.tuning.n_cases
        said.append(
            f"Tuning on {_some(n_cases, 'case')} recommends {chosen.name}: held-out score "
            f"{number(chosen.held_out)} (standard error {number(chosen.standard_error)})."
        )
    for name, runs in material.models.items():
        found = summary(remark for run in runs for remark in remarks(run))
        said += [f"{name}: {'; '.join(found)}."] if found else []
        said += [f"{name}, fold {run.folder.fold}: {note}." for run in runs for note in _few(run.notes)]
    said += [f"{text}." for scores in material.scores for text in scores.notes]
    return [Items(tuple(said))]


def _few(notes: Sequence[str]) -> list[str]:
    """The first notes, and how many more there are, which `nnunet_ext results` prints."""
    more = len(notes) - SHOWN_NOTES
    return [
        *notes[:SHOWN_NOTES],
        *([f"{more} more notes; nnunet_ext results prints them"] if more > 0 else []),
    ]


def _some(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def result_blocks(material: Material) -> list[Block]:
    """The tables of `nnunet_ext results`."""
    tables = result_tables(material.runs)
    blocks: list[Block] = [
        Grid(replace(table, title=table.title.removeprefix(material.dataset).strip())) for table in tables
    ]
    if not material.scores:
        blocks.append(NO_VALIDATION)
    return blocks


def curve_blocks(material: Material) -> list[Block]:
    """The curves of each model, with what they show in words."""
    blocks: list[Block] = []
    for i, (name, runs) in enumerate(material.models.items()):
        blocks.append(Heading(name))
        histories = [run.history for run in runs]
        if not any(one.epochs for one in histories):
            blocks.append(
                Missing(f"{name} has no log with an epoch; train it, or put its training_log beside it.")
            )
            continue
        lines = "; thin lines are folds, thick ones their mean" if len(histories) > 1 else ""
        text = f"Losses, Dice and learning rate of {name}{lines}"
        blocks.append(Picture.drawn(f"curves_{i}", text, partial(draw_curves, histories)))
        said = [remark.sentence for run in runs for remark in remarks(run)]
        if said:
            blocks.append(Items(tuple(said)))
    return blocks


def used_blocks(material: Material) -> list[Block]:
    """Versions, sizes and settings of each model; what its folds share is said once."""
    recorded = {run.folder: settings(run.folder.path) for run in material.runs}
    changed = {name for of_run in recorded.values() for name, one in of_run.items() if not one.is_default}

    def shown(run: Run) -> dict[str, str]:
        return {name: one.text for name, one in recorded[run.folder].items() if name in changed}

    tables = (
        _table(
            "Versions, machine and sizes",
            material,
            lambda run: used(run.folder.path, run.folder.configuration),
        ),
        _table("Settings that are not everywhere the default", material, shown),
    )
    blocks: list[Block] = [Grid(table) for table in tables if table is not None]
    if not any(recorded.values()):
        hint = "nnUNetTrainerExt writes training_config.json, from which they are shown"
        blocks.append(Missing(f"Settings are not recorded; {hint}."))
    return blocks


def _table(title: str, material: Material, read: Callable[[Run], Mapping[str, str]]) -> Table | None:
    by_model = {name: [read(run) for run in runs] for name, runs in material.models.items()}
    keys = list(dict.fromkeys(key for some in by_model.values() for one in some for key in one))
    if not keys:
        return None
    rows = [
        (key, *(_shared([one.get(key, "") for one in some]) for some in by_model.values())) for key in keys
    ]
    return Table(("", *by_model), tuple(rows), title)


def _shared(values: list[str]) -> str:
    different = list(dict.fromkeys(value for value in values if value))
    return "; ".join(different) or NOTHING
