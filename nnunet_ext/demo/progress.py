"""How far the demo is: bars on a terminal, else one line a step, both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

OnCount = Callable[[int], None]


class Teller:
    """Tells nothing; children tell the same where somebody sees it."""

    def begin(self, n_steps: int) -> AbstractContextManager[None]:
        """Surrounds all steps."""
        return _nothing()

    def step(self, name: str, n_units: int) -> AbstractContextManager[OnCount]:
        """Surrounds one step of so many epochs or cases; gives a function to call with those done."""
        return _counting_nothing()

    def reused(self, name: str) -> None:
        """Tell that a step was finished before."""


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _counting_nothing() -> Iterator[OnCount]:
    yield lambda n_done: None


class LineTeller(Teller):
    """One line a step, when it ends."""

    def __init__(self) -> None:
        self.n_steps, self.n_ended = 0, 0

    @contextmanager
    def begin(self, n_steps: int) -> Iterator[None]:
        """Remember how many steps there are."""
        self.n_steps = n_steps
        yield

    @contextmanager
    def step(self, name: str, n_units: int) -> Iterator[OnCount]:
        """Time the step."""
        started = time.perf_counter()
        yield lambda n_done: None
        self._end(f"{name}: {time.perf_counter() - started:.0f} s")

    def reused(self, name: str) -> None:
        """Say so."""
        self._end(f"{name}: already done")

    def _end(self, line: str) -> None:
        self.n_ended += 1
        print(f"[{self.n_ended}/{self.n_steps}] {line}", file=sys.stderr, flush=True)


class BarTeller(Teller):
    """A bar for all steps and one for what runs, above them a line a finished step."""

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
        """Show the step's own bar while it runs."""
        started = time.perf_counter()
        task = self.progress.add_task(name, total=n_units)
        try:
            yield lambda n_done: self.progress.update(task, completed=n_done)
        finally:
            self.progress.remove_task(task)
        self._end(f"{name}: {time.perf_counter() - started:.0f} s")

    def reused(self, name: str) -> None:
        """Say so."""
        self._end(f"{name}: already done")

    def _end(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False)
        self.progress.advance(self.all_steps)


def teller_for_stderr() -> Teller:
    """Bars where standard error is a terminal, else lines."""
    return BarTeller() if sys.stderr.isatty() else LineTeller()
