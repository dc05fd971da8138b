"""How far a training is, where somebody looks: a bar on a terminal, else nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from nnunet_ext.jobs.progress import make_bar

if TYPE_CHECKING:
    from rich.console import Console

RECENT_EPOCHS = 10


def expected_end(seconds_of_epochs: Sequence[float], n_left: int, now: datetime) -> str:
    """When a training will have run its last epoch, in words, judged by its latest epochs.

    Args:
        seconds_of_epochs: of those done; none yet gives an empty text.
        n_left: epochs to do, the present one included.
        now: when the present one begins.
    """
    recent = [seconds for seconds in seconds_of_epochs if seconds > 0][-RECENT_EPOCHS:]
    if not recent:
        return ""
    left = timedelta(seconds=round(median(recent) * n_left))
    end = now + left
    day = "" if end.date() == now.date() else f"{end:%a %d %b} "
    return f"{left} left, until {day}{end:%H:%M}"


class Watched:
    """A training that nobody watches; a child shows it."""

    def begin(self, epoch: int, n_epochs: int, n_batches: int, end: str) -> None:
        """An epoch begins."""

    def advance(self) -> None:
        """One more batch was taken."""

    def validate(self) -> None:
        """The validation begins."""

    def close(self) -> None:
        """The training has ended, however it did."""


class Bar(Watched):
    """A bar of the epoch's batches, with the epoch and the expected end.

    What is printed meanwhile, as nnU-Net does all the time, appears above it.

    Args:
        console: where to show it; standard error unless given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._progress = make_bar("end", console)
        self._task: Any = None

    def begin(self, epoch: int, n_epochs: int, n_batches: int, end: str) -> None:
        """Show the epoch."""
        name = f"epoch {epoch} of {n_epochs}"
        if self._task is None:
            self._task = self._progress.add_task(name, total=n_batches, end=end)
            self._progress.start()
        else:
            self._progress.reset(self._task, description=name, total=n_batches, end=end)

    def advance(self) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task)

    def validate(self) -> None:
        """Say so."""
        if self._task is not None:
            task = self._progress.tasks[0]
            self._progress.update(self._task, description=f"{task.description}, validation")

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def watched_on_stderr() -> Watched:
    """A bar where standard error is a terminal."""
    return Bar() if sys.stderr.isatty() else Watched()
