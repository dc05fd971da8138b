"""Kills writers of a checkpoint at random instants; a program of its own, as it forks.

`python kill_harness.py FOLDER N_WHOLE N_IN_PLACE` kills so many writers that write by `write_checkpoint`, and
so many that write in place, as plain torch.save does it. Prints one line of JSON a kill: the way, the number
that the writer had last reported as written, the one that the file then held (null where it is torn), and
whether the kill left an unfinished file beside it. torch is imported once and each writer forked: 100
imports would take minutes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.errors import NnunetExtError
from nnunet_ext.networks.checkpoint_file import read_checkpoint, write_checkpoint

NUMBER = struct.Struct("<q")
N_VALUES = 50_000

Write = Callable[[dict[str, Any], Path], None]
WAYS: dict[str, Write] = {"whole": write_checkpoint, "in_place": torch.save}


def content(number: int) -> dict[str, Any]:
    """A checkpoint all of whose values are its number."""
    return {"current_epoch": number, "network_weights": {"weight": torch.full((N_VALUES,), float(number))}}


def number_in(path: Path) -> int | None:
    """The number of a whole checkpoint; None where it is torn."""
    try:
        found = read_checkpoint(path)
    except NnunetExtError:
        return None
    number = int(found["current_epoch"])
    return (
        number
        if torch.equal(found["network_weights"]["weight"], content(number)["network_weights"]["weight"])
        else None
    )


def write_for_ever(write: Write, path: Path, first: int, report: int) -> None:
    """Write one checkpoint after the other, and report each once it is written."""
    for number in itertools.count(first):
        write(content(number), path)
        os.write(report, NUMBER.pack(number))


def kill_one(write: Write, path: Path, first: int, delay_s: float, *, after_one: bool) -> int:
    """Fork a writer, kill it after a while, and return the last number it reported; `first - 1` if none.

    Args:
        write: what it writes with.
        path: the file it writes.
        first: the number of its first checkpoint.
        delay_s: how long to let it write.
        after_one: whether this counts from its first checkpoint on, or from its start.
    """
    reports, report = os.pipe()
    writer = os.fork()
    if writer == 0:
        with contextlib.suppress(BaseException):
            write_for_ever(write, path, first, report)
        os._exit(1)
    os.close(report)
    with os.fdopen(reports, "rb", buffering=0) as file:
        told = file.read(NUMBER.size) if after_one else b""
        time.sleep(delay_s)
        os.kill(writer, signal.SIGKILL)
        _, status = os.waitpid(writer, 0)
        told += file.read()
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise RuntimeError("the writer ended by itself")
    return NUMBER.unpack(told[-NUMBER.size :])[0] if told else first - 1


def seconds_of(write: Write, path: Path) -> float:
    """How long one write takes here and now."""
    began = time.perf_counter()
    for _ in range(5):
        write(content(0), path)
    return (time.perf_counter() - began) / 5


def kill_many(way: str, folder: Path, n_kills: int) -> None:
    """Kill again and again, print what was left, and write a last checkpoint."""
    rng = random.Random(5)
    path, write = folder / f"{way}.pth", WAYS[way]
    write_s = seconds_of(write, path)
    number = 0
    for i in range(n_kills):
        reported = kill_one(write, path, number + 1, rng.uniform(0, 3 * write_s), after_one=i % 2 == 0)
        held = number_in(path)
        left = any(path.name in other.name for other in folder.iterdir() if other != path)
        print(json.dumps({"way": way, "reported": reported, "held": held, "left": left}), flush=True)
        number = reported if held is None else held
    write_checkpoint(content(number), path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for one, n in zip(WAYS, sys.argv[2:], strict=True):
        kill_many(one, Path(sys.argv[1]), int(n))
