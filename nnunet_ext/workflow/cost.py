"""What a run takes: seconds, and memory at its peak, of this process and those it started."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from nnunet_ext.memory import PeakMemory

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
    memory = PeakMemory(SAMPLE_S, with_children=True)
    memory.start()
    try:
        yield cost
    finally:
        cost.elapsed_s = round(time.perf_counter() - started, 3)
        cost.peak_memory_bytes = memory.stop()
        cost.peak_gpu_bytes = _gpu_bytes()


def _gpu_bytes() -> int | None:
    torch = sys.modules.get("torch")  # whoever computed on a GPU has imported it
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated()) or None
