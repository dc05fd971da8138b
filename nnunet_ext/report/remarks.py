"""What a training's curves show, in words: overfitting, forgotten labels, a Dice that still rose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pstdev

from nnunet_ext.monitoring.run import Run
from nnunet_ext.nnunet.history import History

LEAST_EPOCHS = 10
WINDOW_SHARE, LEAST_WINDOW = 0.05, 5  # of the epochs, over whose mean losses are compared
RISEN_SHARE = 0.15  # of the fall of the validation loss that it must have risen again
# Standard errors that it must have risen by: the lowest of many windows lies two below their mean by chance.
NOISE_ERRORS = 4.0
LATE_SHARE = 0.05
OTHER_STATES = {
    "interrupted": "was interrupted",
    "validation missing": "has no validation",
    "unknown": "cannot be judged",
}


@dataclass(frozen=True)
class Remark:
    """One thing a run shows.

    Attributes:
        kind: in a few words that fit several folds, such as `overfits`.
        fold: whose.
        detail: the same with its numbers, a sentence's end.
    """

    kind: str
    fold: str
    detail: str

    @property
    def sentence(self) -> str:
        """The whole sentence."""
        return f"Fold {self.fold} {self.detail}"


def remarks(run: Run) -> list[Remark]:
    """What there is to say on one run."""
    history, fold = run.history, run.folder.fold
    found = [
        ("overfits", _overfitting(history)),
        *((f"forgot {label}", _forgotten(history, label)) for label in history.lost_labels()),
        ("still rose at the end", _still_rising(run)),
    ]
    if run.state not in ("finished", "running"):
        state = OTHER_STATES.get(run.state, run.state)
        reason = f": {run.standing.reason}" if run.standing.reason else ""
        found.append((state, f"{state}{reason}."))
    return [Remark(kind, fold, detail) for kind, detail in found if detail]


def summary(some: Iterable[Remark]) -> list[str]:
    """One phrase a kind with the folds it is true of, such as `overfits in folds 0, 3`."""
    folds: dict[str, list[str]] = {}
    for one in some:
        folds.setdefault(one.kind, []).append(one.fold)
    return [f"{kind} in fold{'s' if len(of) > 1 else ''} {', '.join(of)}" for kind, of in folds.items()]


def _overfitting(history: History) -> str:
    """Overfitting: the validation loss rose from its lowest while the training loss fell on."""
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
    """Standard error of the difference of two windows' means, from how far one epoch is from the next."""
    steps = [after - before for before, after in pairwise(values)]
    return pstdev(steps) / math.sqrt(window)  # a step varies as the difference of two epochs does


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
