"""The report's sections on trainings: curves with remarks on them, and what was used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean, pstdev

from nnunet_ext.display.tables import NOTHING, Table
from nnunet_ext.monitoring.run import Run
from nnunet_ext.nnunet.history import History
from nnunet_ext.report.blocks import (
    Block,
    HeadingBlock,
    ListBlock,
    MissingBlock,
    PictureBlock,
    TableBlock,
)
from nnunet_ext.report.material import Material
from nnunet_ext.report.pictures import draw_model_curves
from nnunet_ext.report.training_record import recorded_settings, used_in_training

LEAST_EPOCHS = 10  # fewer are not judged
WINDOW_SHARE, LEAST_WINDOW = 0.05, 5  # share of the epochs, and epochs, over which losses are averaged
RISEN_SHARE = (
    0.15  # share of its fall by which the validation loss must have risen again to count as overfitting
)
# The lowest of many windows lies two standard errors below their mean by chance, so a rise must exceed more.
NOISE_ERRORS = 4.0
LATE_SHARE = 0.05  # share of the epochs at the end in which a best epoch suggests longer training
OTHER_STATES = {
    "interrupted": "was interrupted",
    "validation missing": "has no validation",
    "unknown": "never ran",
}


def curve_blocks(material: Material) -> list[Block]:
    """The curves of each model, and remarks on them."""
    blocks: list[Block] = []
    for i, (name, runs) in enumerate(material.models.items()):
        blocks.append(HeadingBlock(name))
        histories = [run.history for run in runs]
        if not any(one.epochs for one in histories):
            blocks.append(
                MissingBlock(f"{name} has no log with an epoch; train it, or put its training_log beside it.")
            )
            continue
        lines = "; thin lines are folds, thick ones their mean" if len(histories) > 1 else ""
        text = f"Losses, Dice and learning rate of {name}{lines}"
        blocks.append(PictureBlock.drawn(f"curves_{i}", text, partial(draw_model_curves, histories)))
        said = [remark.sentence for run in runs if not never_ran(run) for remark in training_remarks(run)]
        if said:
            blocks.append(ListBlock(tuple(said)))
    return blocks


def used_blocks(material: Material) -> list[Block]:
    """Versions, sizes and settings of each model; a value that its folds share is shown once."""
    recorded = {run.folder: recorded_settings(run.folder.path) for run in material.runs}
    changed = {name for of_run in recorded.values() for name, one in of_run.items() if not one.is_default}

    def shown(run: Run) -> dict[str, str]:
        return {name: one.text for name, one in recorded[run.folder].items() if name in changed}

    tables = (
        _table(
            "Versions, machine and sizes",
            material,
            lambda run: used_in_training(run.folder.path, run.folder.configuration),
        ),
        _table("Settings that are not everywhere the default", material, shown),
    )
    blocks: list[Block] = [TableBlock(table) for table in tables if table is not None]
    if not any(recorded.values()):
        hint = "nnUNetTrainerExt writes training_config.json, from which they are read"
        blocks.append(MissingBlock(f"Settings are not recorded; {hint}."))
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


@dataclass(frozen=True)
class Remark:
    """A remark on the training of one fold.

    Attributes:
        kind: the remark in a few words, such as `overfits`, under which folds are grouped.
        fold: the fold it is on.
        detail: the remark with its numbers, as the predicate of a sentence.
    """

    kind: str
    fold: str
    detail: str

    @property
    def sentence(self) -> str:
        """The remark as a sentence."""
        return f"Fold {self.fold} {self.detail}"


def never_ran(run: Run) -> bool:
    """Whether a fold has a folder, but no log and no epoch."""
    return run.state == "unknown" and not run.history.epochs


def training_remarks(run: Run) -> list[Remark]:
    """Remarks on one run: on its course, and an unusual state."""
    found = course_remarks(run)
    if run.state not in ("finished", "running"):
        state = OTHER_STATES.get(run.state, run.state)
        reason = f": {run.standing.reason}" if run.standing.reason else ""
        found.append(Remark(state, run.folder.fold, f"{state}{reason}."))
    return found


def course_remarks(run: Run) -> list[Remark]:
    """Remarks on the course of a training: overfitting, forgotten labels, and a Dice that still rose."""
    history, fold = run.history, run.folder.fold
    found = (
        ("overfits", _overfitting(history)),
        *((f"forgot {label}", _forgotten(history, label)) for label in history.lost_labels()),
        ("still rose at the end", _still_rising(run)),
    )
    return [Remark(kind, fold, detail) for kind, detail in found if detail]


def remarks_by_kind(remarks: Iterable[Remark]) -> list[str]:
    """One phrase for each kind of remark with its folds, such as `overfits in folds 0, 3`."""
    folds: dict[str, list[str]] = {}
    for one in remarks:
        folds.setdefault(one.kind, []).append(one.fold)
    return [f"{kind} in fold{'s' if len(of) > 1 else ''} {', '.join(of)}" for kind, of in folds.items()]


def _overfitting(history: History) -> str:
    """A remark that the validation loss rose while the training loss kept falling; empty where it did not."""
    epochs = [one for one in history.epochs if one.train_loss is not None and one.val_loss is not None]
    if len(epochs) < LEAST_EPOCHS:
        return ""
    window = max(LEAST_WINDOW, int(WINDOW_SHARE * len(epochs)))
    train = _smoothed([one.train_loss or 0.0 for one in epochs], window)
    val = _smoothed([one.val_loss or 0.0 for one in epochs], window)
    lowest = min(range(len(val)), key=val.__getitem__)
    risen, fallen = val[-1] - val[lowest], max(val) - val[lowest]
    noise = NOISE_ERRORS * _error_of_difference([one.val_loss or 0.0 for one in epochs], window)
    if risen <= max(RISEN_SHARE * fallen, noise) or train[-1] >= train[lowest]:
        return ""
    at = epochs[lowest + window // 2].number
    return (
        f"overfits: from about epoch {at} on the validation loss rose from {val[lowest]:.3f} to "
        f"{val[-1]:.3f}, while the training loss fell from {train[lowest]:.3f} to {train[-1]:.3f}."
    )


def _error_of_difference(values: Sequence[float], window: int) -> float:
    """Standard error of the difference of two windows' means, estimated from the steps between epochs."""
    steps = [after - before for before, after in pairwise(values)]
    return pstdev(steps) / math.sqrt(window)  # a step varies as much as the difference of two epochs


def _smoothed(values: Sequence[float], window: int) -> list[float]:
    return [fmean(values[i : i + window]) for i in range(len(values) - window + 1)]


def _forgotten(history: History, label: str) -> str:
    known = [
        (dice, epoch.number)
        for epoch, dice in zip(history.epochs, history.dice_of(label), strict=True)
        if dice is not None
    ]
    (highest, at), (last, end) = max(known), known[-1]
    return f"forgot {label}: its Dice was {highest:.3f} at epoch {at} and {last:.3f} at epoch {end}."


def _still_rising(run: Run) -> str:
    history = run.history
    if history.best is None or len(history.epochs) < LEAST_EPOCHS or run.state != "finished":
        return ""
    best = history.epochs[history.best].number
    if best < run.n_done - max(1.0, LATE_SHARE * run.n_done):
        return ""
    return f"was at its best in epoch {best}, of {run.n_done}: more epochs may make it better."
