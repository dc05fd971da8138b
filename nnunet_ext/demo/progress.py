"""The progress of the demo on standard error: bars on a terminal, else one line for each step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

OnCount = Callable[[int], None]


class DemoProgress:
    """Shows no progress; subclasses show it."""

    def begin(self, n_steps: int) -> AbstractContextManager[None]:
        """A context around all steps."""
        return _nothing()

    def step(self, name: str, n_units: int) -> AbstractContextManager[OnCount]:
        """A context around one step; it gives a function to call with the number of epochs or cases done."""
        return _counting_nothing()

    def reused(self, name: str) -> None:
        """Show that a step was finished by an earlier run."""


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _counting_nothing() -> Iterator[OnCount]:
    yield lambda n_done: None


class LineProgress(DemoProgress):
    """Prints one line for each step when it ends."""

    def __init__(self) -> None:
        self.n_steps, self.n_ended = 0, 0

    @contextmanager
    def begin(self, n_steps: int) -> Iterator[None]:
        """Store the number of steps."""
        self.n_steps = n_steps
        yield

    @contextmanager
    def step(self, name: str, n_units: int) -> Iterator[OnCount]:
        """Measure the time of a step."""
        started = time.perf_counter()
        yield lambda n_done: None
        self._end(f"{name}: {time.perf_counter() - started:.0f} s")

    def reused(self, name: str) -> None:
        """Print that a step is already done."""
        self._end(f"{name}: already done")

    def _end(self, line: str) -> None:
        self.n_ended += 1
        print(f"[{self.n_ended}/{self.n_steps}] {line}", file=sys.stderr, flush=True)


class BarProgress(DemoProgress):
    """Shows a bar for all steps, one for the current step, and a line for each finished step."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.all_steps = self.progress.add_task("demo", total=None)

    @contextmanager
    def begin(self, n_steps: int) -> Iterator[None]:
        """Show the bars."""
        self.progress.update(self.all_steps, total=n_steps)
        with self.progress:
            yield

    @contextmanager
    def step(self, name: str, n_units: int) -> Iterator[OnCount]:
        """Show the bar of a step while it runs."""
        started = time.perf_counter()
        task = self.progress.add_task(name, total=n_units)
        try:
            yield lambda n_done: self.progress.update(task, completed=n_done)
        finally:
            self.progress.remove_task(task)
        self._end(f"{name}: {time.perf_counter() - started:.0f} s")

    def reused(self, name: str) -> None:
        """Print that a step is already done."""
        self._end(f"{name}: already done")

    def _end(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False)
        self.progress.advance(self.all_steps)


def find_demo_progress() -> DemoProgress:
    """Bars where standard error is a terminal, else lines."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()
