"""What a block of code takes: seconds, and memory at its peak."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch

SAMPLE_S = 0.01


@dataclass
class Cost:
    """Of a block, once it has ended.

    Attributes:
        elapsed_s: seconds, with what a GPU still had to do.
        peak_bytes: what torch had allocated at most on a GPU of CUDA's; otherwise the resident memory of
            this process at most, as far as samples tell.
    """

    elapsed_s: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measured(device: torch.device) -> Iterator[Cost]:
    """Measure a block that computes on this device."""
    cost = Cost()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        with _timed(cost):
            yield cost
            torch.cuda.synchronize(device)
        cost.peak_bytes = int(torch.cuda.max_memory_allocated(device))
        return
    sampler = _Sampler()
    sampler.start()
    try:
        with _timed(cost):
            yield cost
    finally:
        cost.peak_bytes = sampler.stop()


@contextmanager
def _timed(cost: Cost) -> Iterator[None]:
    started = time.perf_counter()
    yield
    cost.elapsed_s = time.perf_counter() - started


class _Sampler(threading.Thread):
    """Looks at this process's memory again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._process: Any = psutil.Process()
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
        self._peak_bytes = max(self._peak_bytes, int(self._process.memory_info().rss))
