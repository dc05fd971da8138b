"""Whether somebody wants a run to end: a signal to its process, or a file named STOP in its folder."""

from __future__ import annotations

import os
import signal
import sys
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
# What a forked process leaves alone: Ctrl-C and SLURM reach every process of a job, but its training decides.
LEFT_TO_THE_PARENT = ("SIGINT", "SIGUSR1")
LONGEST_EXIT_S = 5
_is_listening = False  # whether signals to this process are taken for signs


def _forget_the_training() -> None:
    """In a process that was just forked off a listening training: be no part of it.

    Handlers are inherited by a fork. A worker that took SIGTERM for a note to itself would survive
    `multiprocessing`, which sends it at the end of a program and then waits without a limit.
    """
    global _is_listening  # noqa: PLW0603
    for number in SIGNALS if _is_listening else ():
        ignored = signal.Signals(number).name in LEFT_TO_THE_PARENT
        signal.signal(number, signal.SIG_IGN if ignored else _exit)
    _is_listening = False


def _exit(number: int, _: FrameType | None) -> None:
    """End as by default, but let go of locks, for which others would wait for ever."""
    signal.alarm(LONGEST_EXIT_S)  # which ends a process that waits on its way out for somebody to read
    sys.exit(128 + number)


if hasattr(os, "register_at_fork"):  # Windows starts fresh processes, which inherit no handler
    os.register_at_fork(after_in_child=_forget_the_training)


class RunInterrupted(BaseException):
    """Raised to leave nnU-Net's loops between two iterations, or a validation at any point.

    Like KeyboardInterrupt it is no Exception, so that nothing on the way takes it for a fault.
    """


class Interruption:
    """Remembers the first sign that a run is to end.

    A second Ctrl-C is not waited for: it raises KeyboardInterrupt as without this.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / STOP_FILE
        self._reason: str | None = None
        self._looked_s = -LOOKS_APART_S

    @contextmanager
    def listening(self, *, at_once: bool = False) -> Iterator[None]:
        """Take signals for signs within the block; only a program's main thread can.

        Args:
            at_once: raise RunInterrupted where the signal finds the program, instead of waiting to be asked.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        take = self._take_at_once if at_once else self._take
        global _is_listening  # noqa: PLW0603, a process has one set of handlers
        was_listening, _is_listening = _is_listening, True
        before = {number: signal.signal(number, take) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _is_listening = was_listening

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._reason = self._reason or signal.Signals(number).name

    def _take_at_once(self, number: int, frame: FrameType | None) -> None:
        if self._reason is None:  # what ends is not to be disturbed by the same signal, sent again
            self._take(number, frame)
            raise RunInterrupted
        self._take(number, frame)

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
