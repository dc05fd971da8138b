"""`process.json`: the process of a training, recorded at its start so that others can check if it lives."""

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
        pid: number of the process, which another process may get after its end.
        began: start of the process in seconds since 1970, which tells it from another one of this number.
        host: name of the machine.
        log: file name of the log that the process writes.
    """

    pid: int
    began: float
    host: str
    log: str


def record_process(log: Path) -> None:
    """Record this process beside the log that it writes.

    Raises:
        OSError: the record cannot be written.
    """
    import psutil

    began = psutil.Process().create_time()
    write_json(
        asdict(RecordedProcess(os.getpid(), began, socket.gethostname(), log.name)), log.with_name(PROCESS)
    )


def read_process(path: Path) -> RecordedProcess | None:
    """Read a process.json; None if there is none or it cannot be read."""
    try:
        content = read_json(path)
        return RecordedProcess(
            int(content["pid"]), float(content["began"]), str(content["host"]), str(content["log"])
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
