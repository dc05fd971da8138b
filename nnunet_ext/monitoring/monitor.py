"""What a live screen tells of trainings: where each is, how fast, how good, and whether it lives."""

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
        name: the label's.
        last: its Dice at the last epoch.
        best: its Dice at the epoch with the best average.
        course: its Dice over the training, twelve means of as many parts at most.
    """

    name: str
    last: float | None
    best: float | None
    course: tuple[float, ...]


@dataclass(frozen=True)
class RunView:
    """One run as the screen shows it; what is not known is None.

    Attributes:
        run: whose.
        epoch: the one in work, or else the last that was done.
        eta_s: seconds until the last planned epoch is done, where it is running.
        epoch_s: what its last epochs took.
        trend: how much longer than all of its epochs, as a share: 0.1 is a tenth longer.
        learning_rate: of the last epoch.
        since_best: epochs since the best, by early stopping's own count where there is one.
        patience_left: epochs that early stopping would still wait.
        n_workers: processes that its own has started, such as those that load the data.
        labels: by name.
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
    """All runs at one time, and the machine."""

    taken: float
    views: tuple[RunView, ...]
    load: MachineLoad

    @property
    def has_died(self) -> bool:
        """Whether a run died."""
        return any(view.run.state == "died" for view in self.views)


class Monitor:
    """Looks at the runs below a folder again and again; of a log it reads what was added since.

    Args:
        root: nnU-Net's results, or a folder in them.
        choose: picks the runs to show.
    """

    def __init__(self, root: Path, choose: Callable[[Sequence[Run]], list[Run]] = list) -> None:
        self.root, self._choose = root, choose
        self._readers: dict[FoldFolder, RunReader] = {}

    def look(self, now: float | None = None, processes: Processes | None = None) -> Snapshot:
        """Look once.

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
    """What to show of a run."""
    history = run.history
    last = history.epochs[-1] if history.epochs else None
    waited = run.log.waited
    results = label_results(run)
    views = (
        LabelView(name, results[name].last, results[name].best, course(history.dice_of(name)))
        for name in history.labels
    )
    return RunView(
        run,
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
    """Time of the epochs that are left by the pace of the last ones, less what the current one had."""
    epoch_s = run.history.epoch_s(RECENT_EPOCHS)
    if run.state != "running" or run.log.is_trained or run.planned is None or epoch_s is None:
        return None
    had_s = min(max(0.0, now - (run.modified or now)), epoch_s) if run.log.begun is not None else 0.0
    return max(0.0, (run.planned - run.n_done) * epoch_s - had_s)


def _trend(history: History) -> float | None:
    overall, recent = history.epoch_s(), history.epoch_s(RECENT_EPOCHS)
    return recent / overall - 1 if overall and recent is not None else None


def course(values: Sequence[float | None], width: int = SPARK_WIDTH) -> tuple[float, ...]:
    """Means over at most `width` parts of equal length, leaving out what is None."""
    seen = [value for value in values if value is not None]
    n = min(width, len(seen))
    parts = (seen[len(seen) * i // n : len(seen) * (i + 1) // n] for i in range(n))
    return tuple(sum(part) / len(part) for part in parts)


def sparkline(values: Sequence[float], marks: str = SPARKS) -> str:
    """Values of 0..1 as a letter each, the lowest mark for 0 and the highest for 1."""
    top = len(marks) - 1
    return "".join(marks[round(min(max(value, 0.0), 1.0) * top)] for value in values)


def snapshot_record(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot in plain values, for JSON."""
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
