"""Progress of a training: a bar where standard error is a terminal."""

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
    """Describe when a training will have done its last epoch, estimated from the latest epochs.

    Args:
        seconds_of_epochs: durations of the epochs done; without any the text is empty.
        n_left: number of epochs to do, the present one included.
        now: start of the present epoch.
    """
    recent = [seconds for seconds in seconds_of_epochs if seconds > 0][-RECENT_EPOCHS:]
    if not recent:
        return ""
    left = timedelta(seconds=round(median(recent) * n_left))
    end = now + left
    day = "" if end.date() == now.date() else f"{end:%a %d %b} "
    return f"{left} left, until {day}{end:%H:%M}"


class TrainingProgress:
    """Progress of a training that is not shown."""

    def begin(self, epoch: int, n_epochs: int, n_batches: int, end: str) -> None:
        """Show the beginning of an epoch."""

    def advance(self) -> None:
        """Count one more batch."""

    def validate(self) -> None:
        """Show the beginning of the validation."""

    def close(self) -> None:
        """End the display, after a training with or without error."""


class EpochBar(TrainingProgress):
    """A bar of the epoch's batches, with the number of the epoch and the expected end.

    Output that nnU-Net prints meanwhile appears above the bar.

    Args:
        console: console to draw on; standard error unless given.
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
        """Mark the bar as that of a validation."""
        if self._task is not None:
            task = self._progress.tasks[0]
            self._progress.update(self._task, description=f"{task.description}, validation")

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()


def show_training_progress() -> TrainingProgress:
    """Make a bar if standard error is a terminal; else show nothing."""
    return EpochBar() if sys.stderr.isatty() else TrainingProgress()
