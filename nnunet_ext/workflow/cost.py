"""What a run takes: seconds, and memory at its peak, of this process and those it started."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

SAMPLE_S = 0.2


@dataclass
class Cost:
    """Of a block, once it has ended.

    Attributes:
        elapsed_s: seconds.
        peak_memory_bytes: resident memory at most, as far as samples tell; pages that processes share
            count once for each.
        peak_gpu_bytes: what torch had allocated at most on a GPU of CUDA's in this process since it
            began; None without one, or where other processes compute.
    """

    elapsed_s: float = 0.0
    peak_memory_bytes: int = 0
    peak_gpu_bytes: int | None = None


def describe_cost(cost: Cost, n_cases: int) -> dict[str, Any]:
    """A cost as reports tell it, with the number of cases that it is of; earlier runs' are not among them."""
    return {**asdict(cost), "n_cases": n_cases}


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a block; whatever happens in it, the cost is known afterwards."""
    cost, started = Cost(), time.perf_counter()
    sampler = _Sampler()
    sampler.start()
    try:
        yield cost
    finally:
        cost.elapsed_s = round(time.perf_counter() - started, 3)
        cost.peak_memory_bytes = sampler.stop()
        cost.peak_gpu_bytes = _gpu_bytes()


def _gpu_bytes() -> int | None:
    torch = sys.modules.get("torch")  # whoever computed on a GPU has imported it
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated()) or None


class _Sampler(threading.Thread):
    """Adds up the memory of this process and its children again and again."""

    def __init__(self) -> None:
        import psutil

        super().__init__(daemon=True)
        self._process = psutil.Process()
        self._error = psutil.Error
        self._done = threading.Event()
        self._peak_bytes = 0

    def run(self) -> None:
        self._look()
        while not self._done.wait(SAMPLE_S):
            self._look()

    def stop(self) -> int:
        self._done.set()
        self.join()
        self._look()
        return self._peak_bytes

    def _look(self) -> None:
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except self._error:
            family = [self._process]
        total = 0
        for process in family:
            try:
                total += int(process.memory_info().rss)
            except self._error:  # it has ended meanwhile
                continue
        self._peak_bytes = max(self._peak_bytes, total)
