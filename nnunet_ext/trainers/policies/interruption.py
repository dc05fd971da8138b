"""Interruption of a training: by a signal to its process, or by a file named STOP in its folder."""

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
REQUEUE_EXIT_CODE = 75  # EX_TEMPFAIL: a scheduler may start the training again
# SIGUSR1 is the signal that SLURM can be told to send before a job's time is up. Windows does not have it.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGBREAK") if hasattr(signal, name)
)
LOOKS_APART_S = 1.0  # between two looks for the file, whose folder may be on a network
# Signals that worker processes ignore: Ctrl-C and SLURM's reach every process of a job.
LEFT_TO_THE_PARENT = ("SIGINT", "SIGUSR1")
LONGEST_EXIT_S = 5
_is_listening = False  # whether this process has the handlers of an Interruption


def _forget_the_training() -> None:
    """Replace the inherited handlers in a process that was just forked off a training.

    At the end of a program `multiprocessing` sends SIGTERM to its workers and waits for them without a limit.
    A worker with the training's handler would only take note of the signal, and live on.
    """
    global _is_listening  # noqa: PLW0603
    for number in SIGNALS if _is_listening else ():
        ignored = signal.Signals(number).name in LEFT_TO_THE_PARENT
        signal.signal(number, signal.SIG_IGN if ignored else _exit)
    _is_listening = False


def _exit(number: int, _: FrameType | None) -> None:
    """End the process, but release its locks, for which others would wait for ever."""
    signal.alarm(LONGEST_EXIT_S)  # ends the process if it waits at its exit for somebody to read its output
    sys.exit(128 + number)


if hasattr(os, "register_at_fork"):  # Windows starts fresh processes, which inherit no handler
    os.register_at_fork(after_in_child=_forget_the_training)


class RunInterrupted(BaseException):
    """Raised to leave nnU-Net's loops between two iterations, or a validation at any point.

    Like KeyboardInterrupt it is no Exception, so code that handles errors lets it pass.
    """


class Interruption:
    """Takes note of the first signal, or of the file STOP, that is to end a training.

    A second Ctrl-C raises KeyboardInterrupt at once.

    Args:
        folder: folder in which the file STOP is looked for.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / STOP_FILE
        self._reason: str | None = None
        self._looked_s = -LOOKS_APART_S

    @contextmanager
    def listening(self, *, at_once: bool = False) -> Iterator[None]:
        """Handle signals within the block; does nothing outside of the main thread.

        Args:
            at_once: raise RunInterrupted wherever the program is, instead of only taking note of the signal.
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
        if self._reason is None:  # a second signal must not disturb the end of the program
            self._take(number, frame)
            raise RunInterrupted
        self._take(number, frame)

    def reason(self) -> str | None:
        """Name the signal or file that was noticed; None for none. The file is looked for once a second."""
        now_s = time.monotonic()
        if self._reason is None and now_s - self._looked_s >= LOOKS_APART_S:
            self._looked_s = now_s
            if self._file.exists():
                self._reason = f"the file {self._file}"
        return self._reason

    def clear(self) -> None:
        """Remove the file, so that the training can be continued."""
        self._file.unlink(missing_ok=True)
