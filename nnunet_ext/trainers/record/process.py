"""The process of a training: it records itself at its very start, so that others can ask if it lives."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_ext.files.documents import read_json
from nnunet_ext.files.whole import write_json

PROCESS = "process.json"


@dataclass(frozen=True)
class RecordedProcess:
    """A process that trains, as it recorded itself.

    Attributes:
        pid: its number, which another process has after its end sooner or later.
        began: when it was started, in seconds since 1970, by which it is told from such another one.
        host: the machine that it runs on.
        log: name of the log that it writes.
    """

    pid: int
    began: float
    host: str
    log: str


def record_process(log: Path) -> None:
    """Record this process beside the log that it has begun to write.

    Raises:
        OSError: it cannot be written.
    """
    import psutil

    began = psutil.Process().create_time()
    write_json(
        asdict(RecordedProcess(os.getpid(), began, socket.gethostname(), log.name)), log.with_name(PROCESS)
    )


def read_process(path: Path) -> RecordedProcess | None:
    """Read a process.json; None where there is none that can be read."""
    try:
        content = read_json(path)
        return RecordedProcess(
            int(content["pid"]), float(content["began"]), str(content["host"]), str(content["log"])
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
