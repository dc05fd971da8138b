"""Child processes with a time limit, which are ended together with all processes that they started."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

LONGEST_ENDING_S = 5.0
N_LAST_LINES = 20


@dataclass(frozen=True)
class FinishedChild:
    """The output of a child process, and how it ended.

    Attributes:
        out: the lines of its standard output.
        last_words: the last line of its standard error.
        exit_code: its exit code; None where it took too long and was ended.
    """

    out: tuple[str, ...]
    last_words: str
    exit_code: int | None


def run_child(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float, folder: Path | None = None
) -> FinishedChild:
    """Run a command and collect its output until it ends or takes too long.

    Daemon threads read its output line by line: a process that the command started may outlive it and hold
    its streams open for ever.

    Args:
        command: program and arguments.
        environment: all environment variables of the command.
        timeout_s: seconds after which the command is ended.
        folder: the working folder; the current one by default.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    out: list[str] = []
    err: deque[str] = deque(maxlen=N_LAST_LINES)
    readers = [
        threading.Thread(target=_read, args=ends, daemon=True)
        for ends in ((child.stdout, out), (child.stderr, err))
    ]
    for reader in readers:
        reader.start()
    exit_code = None
    try:
        with suppress(subprocess.TimeoutExpired):
            exit_code = child.wait(timeout_s)
    finally:
        end_family(child)
    for reader in readers:
        reader.join(LONGEST_ENDING_S)
    last = next((line.strip() for line in reversed([*err]) if line.strip()), "it printed nothing")
    return FinishedChild(tuple(out), last, exit_code)


def _read(stream: TextIO, lines: list[str] | deque[str]) -> None:
    with stream:
        for line in stream:
            lines.append(line)


def end_family(child: subprocess.Popen) -> None:
    """End a child process that still runs, together with all processes that it started."""
    if child.poll() is not None:
        return
    import psutil

    family = []
    with suppress(psutil.Error):
        family = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    for one in family:
        with suppress(psutil.Error):
            one.kill()
    with suppress(subprocess.TimeoutExpired):
        child.wait(LONGEST_ENDING_S)
