"""What a block of code takes: seconds, and memory at its peak."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from nnunet_ext.memory import PeakMemory

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
    memory = PeakMemory(SAMPLE_S)
    memory.start()
    try:
        with _timed(cost):
            yield cost
    finally:
        cost.peak_bytes = memory.stop()


@contextmanager
def _timed(cost: Cost) -> Iterator[None]:
    started = time.perf_counter()
    yield
    cost.elapsed_s = time.perf_counter() - started
