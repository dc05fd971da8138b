"""Snapshots of all runs for the live screen: progress, pace, Dice, patience, and the machine's load."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.monitoring.hiding import hidden_for
from nnunet_ext.monitoring.machine import MachineLoad, find_load
from nnunet_ext.monitoring.processes import Processes, find_processes
from nnunet_ext.monitoring.results import label_results, standing_record
from nnunet_ext.monitoring.run import RECENT_EPOCHS, Run, RunReader
from nnunet_ext.monitoring.states import State
from nnunet_ext.nnunet.history import History
from nnunet_ext.nnunet.model_folder import FoldFolder, find_folds

SPARKS, PLAIN_SPARKS = "▁▂▃▄▅▆▇█", ".:-=+*#@"
SPARK_WIDTH = 12
OPEN_STATES: tuple[State, ...] = (
    "running",
    "stalled",
    "interrupted",
    "died",
    "validation missing",
    "unknown",
)


@dataclass(frozen=True)
class LabelView:
    """One label of a running training.

    Attributes:
        name: the label's name.
        last: Dice at the last epoch.
        best: Dice at the epoch with the best average.
        course: Dice over the training, as the means of at most twelve parts of equal length.
    """

    name: str
    last: float | None
    best: float | None
    course: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run as the screen shows it; an unknown value is None.

    Attributes:
        run: the run.
        epoch: number of the current epoch, or of the last one where none is running.
        eta_s: seconds until the last planned epoch ends; None where the run is not running.
        epoch_s: mean seconds of the last epochs.
        trend: by which share the last epochs were longer than all epochs; 0.1 is a tenth longer.
        learning_rate: learning rate of the last epoch.
        since_best: epochs since the best one, by the count of early stopping where there is one.
        patience_left: epochs that early stopping would still wait.
        n_workers: processes started by the training, such as those that load the data.
        labels: the labels, in the data set's order.
    """

    run: Run
    epoch: int | None
    eta_s: float | None
    epoch_s: float | None
    trend: float | None
    learning_rate: float | None
    since_best: int | None
    patience_left: int | None
    n_workers: int | None
    labels: tuple[LabelView, ...]


@dataclass(frozen=True)
class Snapshot:
    """All runs and the machine's load at one time; `taken` is in seconds since 1970."""

    taken: float
    views: tuple[RunView, ...]
    load: MachineLoad

    @property
    def has_died(self) -> bool:
        """Whether any run died."""
        return any(view.run.state == "died" for view in self.views)


class Monitor:
    """Takes snapshots of the runs below a folder; of a log each reads only what was added since the last.

    Args:
        root: nnU-Net's results, or a folder in them.
        choose: selects the runs to show.
    """

    def __init__(self, root: Path, choose: Callable[[Sequence[Run]], list[Run]] = list) -> None:
        self.root, self._choose = root, choose
        self._readers: dict[FoldFolder, RunReader] = {}

    def look(self, now: float | None = None, processes: Processes | None = None) -> Snapshot:
        """Take a snapshot.

        Args:
            now: the current time in seconds since 1970; that of the clock by default.
            processes: the machine's processes; looked up by default.

        Raises:
            UsageError: the folder is gone.
        """
        moment = time.time() if now is None else now
        known = find_processes() if processes is None else processes
        folders = [fold for fold in find_folds(self.root) if hidden_for(fold) is None]
        self._readers = {folder: self._readers.get(folder) or RunReader(folder) for folder in folders}
        runs = [reader.look(moment, known) for reader in self._readers.values()]
        views = tuple(view_of(run, moment, known) for run in self._choose(runs))
        return Snapshot(moment, views, find_load(self.root))


def view_of(run: Run, now: float, processes: Processes) -> RunView:
    """The values that the screen shows of a run."""
    history = run.history
    last = history.epochs[-1] if history.epochs else None
    waited = run.log.waited
    results = label_results(run)
    views = (
        LabelView(name, results[name].last, results[name].best, course(history.dice_of(name)))
        for name in history.labels
    )
    return RunView(
        run=run,
        epoch=run.log.begun if run.log.begun is not None else last.number if last else None,
        eta_s=_eta_s(run, now),
        epoch_s=history.epoch_s(RECENT_EPOCHS),
        trend=_trend(history),
        learning_rate=last.learning_rate if last else None,
        since_best=waited[0] if waited else _since_best(history),
        patience_left=None if waited is None else max(0, waited[1] - waited[0]),
        n_workers=processes.n_workers(run.folder, run.log_begun),
        labels=tuple(views),
    )


def _since_best(history: History) -> int | None:
    return None if history.best is None else history.epochs[-1].number - history.epochs[history.best].number


def _eta_s(run: Run, now: float) -> float | None:
    """Seconds for the remaining epochs at the pace of the last ones, less those since the last log line."""
    epoch_s = run.history.epoch_s(RECENT_EPOCHS)
    if run.state != "running" or run.log.is_trained or run.planned is None or epoch_s is None:
        return None
    elapsed_s = min(max(0.0, now - (run.modified or now)), epoch_s) if run.log.begun is not None else 0.0
    return max(0.0, (run.planned - run.n_done) * epoch_s - elapsed_s)


def _trend(history: History) -> float | None:
    overall, recent = history.epoch_s(), history.epoch_s(RECENT_EPOCHS)
    return recent / overall - 1 if overall and recent is not None else None


def course(values: Sequence[float | None], width: int = SPARK_WIDTH) -> tuple[float, ...]:
    """The means of at most `width` parts of equal length; None values are left out."""
    seen = [value for value in values if value is not None]
    n = min(width, len(seen))
    parts = (seen[len(seen) * i // n : len(seen) * (i + 1) // n] for i in range(n))
    return tuple(sum(part) / len(part) for part in parts)


def sparkline(values: Sequence[float], marks: str = SPARKS) -> str:
    """One mark for each value from 0 to 1: the first mark for 0, the last for 1."""
    top = len(marks) - 1
    return "".join(marks[round(min(max(value, 0.0), 1.0) * top)] for value in values)


def snapshot_record(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as plain values, for JSON."""
    return {
        "time": snapshot.taken,
        "runs": [_view_record(view) for view in snapshot.views],
        "machine": asdict(snapshot.load),
    }


def _view_record(view: RunView) -> dict[str, Any]:
    run = view.run
    names = (
        "epoch",
        "eta_s",
        "epoch_s",
        "trend",
        "learning_rate",
        "since_best",
        "patience_left",
        "n_workers",
    )
    return {
        **standing_record(run),
        **{name: getattr(view, name) for name in names},
        "labels": {one.name: {"last": one.last, "best": one.best} for one in view.labels},
        "warning": run.log.warning,
        "folder": str(run.folder.path),
    }
