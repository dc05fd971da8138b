"""Whether somebody wants a run to end: a signal to its process, or a file named STOP in its folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

STOP_FILE = "STOP"
REQUEUE_EXIT_CODE = 75  # EX_TEMPFAIL: start it again
# SIGUSR1 is what SLURM is told to send before a job's time is up; Windows has neither it nor SIGTERM in use.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGBREAK") if hasattr(signal, name)
)
LOOKS_APART_S = 1.0  # a folder on a network is not to be asked at every iteration


class Interruption:
    """Remembers the first sign that a run is to end.

    A second Ctrl-C is not waited for: it raises KeyboardInterrupt as without this.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / STOP_FILE
        self._reason: str | None = None
        self._looked_s = -LOOKS_APART_S

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals for signs within the block; only a program's main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._take) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._reason = self._reason or signal.Signals(number).name

    def reason(self) -> str | None:
        """The sign in words, None while there is none; the file is looked for once a second."""
        now_s = time.monotonic()
        if self._reason is None and now_s - self._looked_s >= LOOKS_APART_S:
            self._looked_s = now_s
            if self._file.exists():
                self._reason = f"the file {self._file}"
        return self._reason

    def clear(self) -> None:
        """Remove the file, so that the run can go on when it is started again."""
        self._file.unlink(missing_ok=True)
