"""Part 12: the CPU time of nnU-Net's augmentation, and the time that a GPU waits for data."""

from __future__ import annotations

import statistics
import time
from typing import Any

import psutil
import torch

from gpu.checks import Bench, attempt
from gpu.trainings import EXT, PLAIN, WIDE, made, own_results, started, step, variables, wait

AUGMENTED_S, N_AUGMENTED = 10.0, 10
N_WORKERS = (4, 8, 16)
QUEUED_S, TIMED_S = 3.0, 6.0


class Clocked:
    """A transform of batchgeneratorsv2 that adds up its CPU seconds."""

    def __init__(self, transform: Any) -> None:
        self._transform = transform
        inner = getattr(transform, "transform", transform)
        self.name = type(inner).__name__.removesuffix("Transform")
        self.seconds = 0.0

    def __call__(self, **data: Any) -> Any:
        """Apply the transform."""
        began = time.process_time()
        try:
            return self._transform(**data)
        finally:
            self.seconds += time.process_time() - began


def check_augmentation(bench: Bench) -> None:
    """Measure the transforms of the wide network's patches, then its training with workers."""
    with own_results(bench):
        attempt(bench, "augmentation", _transforms)
        attempt(bench, "waiting for data", _workers)


def _transforms(bench: Bench) -> None:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in nnU-Net's workers
    try:
        trainer = made(bench, PLAIN, WIDE)
        trainer.initialize()
        with variables(n_proc_DA=0):
            loader, _ = trainer.get_dataloaders()
        transforms = loader.data_loader.transforms
        transforms.transforms = clocked = [Clocked(one) for one in transforms.transforms]
        began, cpu, n_samples = time.perf_counter(), time.process_time(), 0
        while n_samples < (4 if bench.is_small else 2 * N_AUGMENTED):
            n_samples += len(next(loader)["data"])
            if time.perf_counter() - began > AUGMENTED_S:
                break
        whole = (time.process_time() - cpu) / n_samples
    finally:
        torch.set_num_threads(n_threads)
    patch = " x ".join(map(str, trainer.configuration_manager.patch_size))
    bench.tell(f"augmentation, {patch}: CPU a sample", f"{whole:.3f} s, mean of {n_samples}")
    sums: dict[str, float] = {}
    for one in clocked:
        sums[one.name] = sums.get(one.name, 0.0) + one.seconds / n_samples
    sums["reading and cutting the patch"] = whole - sum(sums.values())
    for name, seconds in sorted(sums.items(), key=lambda item: -item[1]):
        bench.tell(f"augmentation: {name}", f"{seconds:.4f} s, {100 * seconds / whole:.0f} %")


def _workers(bench: Bench) -> None:
    trainer = started(bench, EXT, WIDE)
    taken = [_seconds_of(bench, trainer) for _ in range(3 if bench.is_small else 20)]
    step_s = statistics.median(taken[len(taken) // 4 :])
    bench.tell("iteration without loading", f"{step_s:.4f} s")
    for n_workers in (1, 2) if bench.is_small else N_WORKERS:
        with variables(n_proc_DA=n_workers):
            training, validation = trainer.get_dataloaders()
        trainer.dataloader_train = training
        try:
            _until(bench, trainer, 0.2 if bench.is_small else QUEUED_S)
            seconds, n_steps = _until(bench, trainer, 0.5 if bench.is_small else TIMED_S)
        finally:
            for loader in (training, validation):
                loader._finish()
        each = seconds / n_steps
        waits = 100 * max(0.0, 1 - step_s / each)
        n_cores = psutil.cpu_count()
        bench.tell(
            f"iteration with {n_workers} workers on {n_cores} processors",
            f"{each:.4f} s; the device waits {waits:.0f} % of it",
        )


def _seconds_of(bench: Bench, trainer: Any) -> float:
    began = time.perf_counter()
    step(trainer)
    wait(bench)
    return time.perf_counter() - began


def _until(bench: Bench, trainer: Any, seconds: float) -> tuple[float, int]:
    """Train for a time; returns the seconds and the number of steps."""
    began, n_steps = time.perf_counter(), 0
    while n_steps == 0 or time.perf_counter() - began < seconds:
        step(trainer)
        n_steps += 1
    wait(bench)
    return time.perf_counter() - began, n_steps
