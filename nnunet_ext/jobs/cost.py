"""Wall time and peak memory of a measured block, child processes included."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil


class PeakMemory(threading.Thread):
    """A thread that samples the resident memory until it is stopped.

    Args:
        interval_s: between two looks.
        with_children: add that of the processes this one started; pages that they share count once for
            each.
    """

    def __init__(self, interval_s: float, *, with_children: bool = False) -> None:
        super().__init__(daemon=True)
        self._interval_s, self._with_children = interval_s, with_children
        self._process = psutil.Process()
        self._done = threading.Event()
        self._peak_bytes = 0

    def run(self) -> None:
        """Sample the memory until `stop` is called; `start` calls this method on a thread."""
        self._look()
        while not self._done.wait(self._interval_s):
            self._look()

    def stop(self) -> int:
        """Take a last sample, and return the largest sum of bytes."""
        self._done.set()
        self.join()
        self._look()
        return self._peak_bytes

    def _look(self) -> None:
        self._peak_bytes = max(self._peak_bytes, sum(map(_resident_bytes, self._family())))

    def _family(self) -> list[psutil.Process]:
        if not self._with_children:
            return [self._process]
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return [self._process]


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # the process has ended meanwhile
        return 0


SAMPLE_S = 0.2


@dataclass
class Cost:
    """Wall time and peak memory of a measured block, known once the block has ended.

    Attributes:
        elapsed_s: seconds.
        peak_memory_bytes: highest resident memory of the samples; pages that processes share
            count once for each.
        peak_gpu_bytes: highest memory that torch allocated on a CUDA GPU in this process since it
            began; None without one, or where other processes compute.
    """

    elapsed_s: float = 0.0
    peak_memory_bytes: int = 0
    peak_gpu_bytes: int | None = None


def describe_cost(cost: Cost, n_cases: int) -> dict[str, Any]:
    """Describe a cost for a report, with the number of cases that were done in it."""
    return {**asdict(cost), "n_cases": n_cases}


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the wall time and peak memory of a block, whether or not it fails."""
    cost, started = Cost(), time.perf_counter()
    memory = PeakMemory(SAMPLE_S, with_children=True)
    memory.start()
    try:
        yield cost
    finally:
        cost.elapsed_s = round(time.perf_counter() - started, 3)
        cost.peak_memory_bytes = memory.stop()
        cost.peak_gpu_bytes = _gpu_bytes()


def _gpu_bytes() -> int | None:
    torch = sys.modules.get("torch")  # a computation on a GPU has imported torch
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated()) or None
