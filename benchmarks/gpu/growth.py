"""Part 6: whether memory grows over many steps, with workers that load the data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import psutil
import torch

from gpu.checks import Bench
from gpu.trainings import EXT, NARROW, arguments, own_results, step, variables, wait

N_STEPS, N_WARM, EVERY = 200, 30, 5
MIB = 2**20
# What one block of an allocator, or one batch more or less in the queue of loaded ones, makes.
ALLOCATED_MIB, PINNED_MIB, RESIDENT_MIB = 1.0, 16.0, 64.0


def check_growth(bench: Bench) -> None:
    """Compare the memory of the first and of the last quarter of the steps; two batches are accumulated."""
    import trainer_overhead

    n_steps, n_warm = (16, 4) if bench.is_small else (N_STEPS, N_WARM)
    n_workers = 1 if bench.is_small else min(8, psutil.cpu_count() or 1)
    torch.backends.cudnn.benchmark = bench.is_cuda
    with own_results(bench), variables(n_proc_DA=n_workers, accumulate=2):
        trainer = trainer_overhead.started(EXT, arguments(bench, NARROW))
    allocated, pinned, resident = [], [], []
    try:
        for i in range(n_warm + n_steps):
            step(trainer)
            if i >= n_warm and (i - n_warm) % EVERY == 0:
                wait(bench)
                resident.append(psutil.Process().memory_info().rss / MIB)
                if bench.is_cuda:
                    allocated.append(torch.cuda.memory_allocated() / MIB)
                    pinned.append(_pinned_bytes() / MIB)
    finally:
        for loader in (trainer.dataloader_train, trainer.dataloader_val):
            source = getattr(loader, "source", loader)
            if hasattr(source, "_finish"):
                source._finish()
    name = f"growth over {n_steps} steps"
    if bench.is_cuda:
        bench.at_most(f"{name}: allocated on the GPU", growth(allocated), ALLOCATED_MIB, "MiB")
        bench.at_most(f"{name}: pinned", growth(pinned), PINNED_MIB, "MiB")
    bench.measured_at_most(f"{name}: resident", growth(resident), RESIDENT_MIB, "MiB")
    bench.tell("resident at the end", f"{resident[-1]:.0f} MiB")


def growth(values: Sequence[float]) -> float:
    """Median of the last quarter less that of the first."""
    n = max(1, len(values) // 4)
    return statistics.median(values[-n:]) - statistics.median(values[:n])


def _pinned_bytes() -> float:
    """Pinned memory of torch's allocator; 0 where torch does not report it."""
    stats: dict[str, Any] = getattr(torch.cuda, "host_memory_stats", dict)()
    return float(stats.get("allocated_bytes.current", 0))
