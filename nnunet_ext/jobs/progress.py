"""Progress bars on standard error."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from nnunet_ext.files.escaping import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def make_bar(field: str, console: Console | None = None) -> Progress:
    """Make a bar with a description before it and, behind its count, the text of a field of its task.

    What is printed meanwhile appears above it; where standard output is a file, it goes there.

    Args:
        field: name of the task's field.
        console: where to show it; standard error unless given.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[{field}]}}"),
        console=console or Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        refresh_per_second=4,
    )


def pace(elapsed_s: float, n_done: int, n_left: int) -> str:
    """Describe the seconds per case so far and the time left at that pace: `2.5 s a case, 0:01:40 left`."""
    if not n_done:
        return ""
    each = elapsed_s / n_done
    minutes, seconds = divmod(round(each * n_left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{each:.1f} s a case, {hours}:{minutes:02}:{seconds:02} left"


class CaseBar:
    """A bar over the cases of a run: the case that ended last, the pace and the time left.

    Args:
        verb: the verb that stands before each case's name.
        console: where to show it; standard error unless given.
    """

    def __init__(self, verb: str, console: Console | None = None) -> None:
        self._verb = verb
        self._progress = make_bar("pace", console)
        self._task: Any = self._progress.add_task(verb, total=None, pace="")
        self._started, self._n_done = time.perf_counter(), 0
        self._progress.start()

    def ended(self, case_id: str, n_cases: int, *, failed: bool = False) -> None:
        """Count one more case as ended; a failed case is named above the bar."""
        from rich.markup import escape

        self._n_done += 1
        self._progress.update(
            self._task,
            total=n_cases,
            completed=self._n_done,
            description=escape(printable(f"{self._verb} {case_id}")),
            pace=pace(time.perf_counter() - self._started, self._n_done, n_cases - self._n_done),
        )
        if failed:
            self._progress.console.print(f"{printable(case_id)}: FAILED", markup=False)

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()
