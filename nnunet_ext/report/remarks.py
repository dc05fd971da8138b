"""What a training's curves show, in words: overfitting, forgotten labels, a Dice that still rose."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from nnunet_ext.report.history import History
from nnunet_ext.report.runs import Run

LEAST_EPOCHS = 10
WINDOW_SHARE, LEAST_WINDOW = 0.05, 5  # of the epochs, over whose mean losses are compared
RISEN_SHARE = 0.15  # of the fall of the validation loss that it must have risen again
LATE_SHARE = 0.05


def remarks(run: Run) -> list[str]:
    """Sentences on one run; none where there is nothing to say."""
    fold = f"fold {run.folder.fold}"
    said = [_overfitting(run.history), *_forgotten(run.history), _still_rising(run)]
    found = [f"{fold} {text}" for text in said if text]
    if run.state not in ("finished", "running"):
        reason = f": {run.standing.reason}" if run.standing.reason else ""
        found.append(f"{fold} {_of_state(run.state)}{reason}.")
    return found


def _of_state(state: str) -> str:
    return {"validation missing": "has no validation", "unknown": "cannot be judged"}.get(state, state)


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
    if risen <= RISEN_SHARE * fallen or risen <= 0.0 or train[-1] >= train[lowest]:
        return ""
    at = epochs[lowest + window // 2].number
    return (
        f"overfits: from about epoch {at} on the validation loss rose from {val[lowest]:.3f} to {val[-1]:.3f}, "
        f"while the training loss fell from {train[lowest]:.3f} to {train[-1]:.3f}."
    )


def _smoothed(values: Sequence[float], window: int) -> list[float]:
    return [fmean(values[i : i + window]) for i in range(len(values) - window + 1)]


def _forgotten(history: History) -> list[str]:
    return [_loss_of(history, label) for label in history.lost_labels()]


def _loss_of(history: History, label: str) -> str:
    known = [
        (dice, epoch.number)
        for epoch, dice in zip(history.epochs, history.dice_of(label), strict=True)
        if dice is not None
    ]
    highest, at = max(known)
    return f"forgot {label}: its Dice was {highest:.3f} at epoch {at} and {known[-1][0]:.3f} at epoch {known[-1][1]}."


def _still_rising(run: Run) -> str:
    history = run.history
    if history.best is None or len(history.epochs) < LEAST_EPOCHS or run.state != "finished":
        return ""
    best = history.epochs[history.best].number
    if best < run.n_done - max(1.0, LATE_SHARE * run.n_done):
        return ""
    return f"was at its best in epoch {best}, of {run.n_done}: more epochs may make it better."
