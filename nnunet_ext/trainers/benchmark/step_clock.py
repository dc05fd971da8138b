"""Measurement of the steps of any nnU-Net trainer, within its own loop over epochs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from nnunet_ext.errors import NnunetExtError
from nnunet_ext.trainers.benchmark.speed import Operator, Speed

N_PROFILED = 5  # steps after the measured ones, which a profiler would slow down
N_OPERATORS = 10
MICROSECOND = 1e-6


class AllStepsMade(Exception):
    """Raised to leave nnU-Net's epoch loop, which has no stop flag."""


class _TimedLoader:
    """Loader that counts the patches of another loader, and the time spent waiting for them."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.begin()

    def begin(self) -> None:
        """Set time and number of patches to zero."""
        self.wait_s, self.n_samples = 0.0, 0

    def __iter__(self) -> _TimedLoader:
        return self

    def __next__(self) -> Any:
        asked = time.perf_counter()
        batch = next(self._loader)
        self.wait_s += time.perf_counter() - asked
        self.n_samples += len(batch["data"])
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class StepClock:
    """Measures the steps of a trainer; the time between two steps belongs to the later one.

    The trainer runs its own `run_training`, so the time of its hooks is included.

    Args:
        trainer: a trainer that has not started.
        n_warmup: number of steps before the measured ones, at least 1.
        n_counted: number of measured steps.
        profiler: torch's profiler for a few more steps; None for none.
    """

    def __init__(self, trainer: Any, n_warmup: int, n_counted: int, profiler: Any = None) -> None:
        self._trainer, self._profiler = trainer, profiler
        self._n_warmup, self._n_timed = n_warmup, n_warmup + n_counted
        self._n_steps = self._n_timed + (N_PROFILED if profiler else 0)
        self._n_done, self._n_samples = 0, 0
        self._ended_s = 0.0
        self._step_s: list[float] = []
        self._wait_s: list[float] = []
        self._synchronize = _synchronize(trainer.device.type)
        self._start, trainer.on_train_start = trainer.on_train_start, self._on_train_start
        self._start_epoch, trainer.on_train_epoch_start = (
            trainer.on_train_epoch_start,
            self._on_train_epoch_start,
        )
        self._step, trainer.train_step = trainer.train_step, self._train_step

    def run(self) -> Speed:
        """Train until the last step, and return the speed of the measured ones.

        Raises:
            NnunetExtError: the training ended before that.
        """
        try:
            self._trainer.run_training()
            raise NnunetExtError(
                f"{type(self._trainer).__name__} ended its training after {self._n_done} of "
                f"{self._n_steps} steps: take less by -n_iterations."
            )
        except AllStepsMade:
            pass
        finally:
            self._end()
        device = self._trainer.device
        return Speed(
            device=_name(device),
            step_s=tuple(self._step_s),
            wait_s=tuple(self._wait_s),
            n_samples=self._n_samples,
            peak_bytes=_peak_bytes(device),
            operators=_costliest(self._profiler, device.type) if self._profiler else (),
        )

    def _on_train_start(self) -> None:
        self._start()
        self._trainer.dataloader_train = self._loader = _TimedLoader(self._trainer.dataloader_train)

    def _on_train_epoch_start(self) -> None:
        self._start_epoch()
        # At each epoch, because a trainer may set it anew.
        self._trainer.num_iterations_per_epoch = self._n_steps

    def _train_step(self, batch: Any) -> Any:
        output = self._step(batch)
        self._synchronize()
        now = time.perf_counter()
        if self._n_warmup <= self._n_done < self._n_timed:
            self._step_s.append(now - self._ended_s)
            self._wait_s.append(self._loader.wait_s)
            self._n_samples += self._loader.n_samples
        self._n_done += 1
        if self._n_done == self._n_steps:
            raise AllStepsMade
        if self._n_done == self._n_timed:
            self._profiler.start()
        self._loader.begin()
        self._ended_s = time.perf_counter()
        return output

    def _end(self) -> None:
        """End the profiler and the workers that load data."""
        if self._profiler and self._n_done >= self._n_timed:
            self._profiler.stop()
        for loader in (self._trainer.dataloader_train, self._trainer.dataloader_val):
            if callable(finish := getattr(loader, "_finish", None)):
                finish()


def new_profiler(device: str) -> Any:
    """Make a profiler of torch's operators, on the CPU and where it is the device on the GPU."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    return profile(activities=activities)


def _costliest(profiler: Any, device: str) -> tuple[Operator, ...]:
    """Select the operators with most time of their own, on the GPU where that is the device."""
    # The list also has the kernels of a GPU, whose times are those of the operators that started them.
    events = [event for event in profiler.key_averages() if event.device_type.name == "CPU"]
    times = [(_own_us(event, device), event) for event in events]
    total = sum(own for own, _ in times) or 1.0
    highest = sorted(times, key=lambda time_and_event: -time_and_event[0])[:N_OPERATORS]
    return tuple(Operator(event.key, own * MICROSECOND, own / total, event.count) for own, event in highest)


def _own_us(event: Any, device: str) -> float:
    if device != "cuda":
        return float(event.self_cpu_time_total)
    # Name of the attribute until torch 2.4.
    old = getattr(event, "self_cuda_time_total", 0.0)
    return float(getattr(event, "self_device_time_total", old))


def _synchronize(device: str) -> Callable[[], None]:
    """Return a function that waits until the device has finished its work."""
    if device == "cuda":
        return torch.cuda.synchronize
    return torch.mps.synchronize if device == "mps" else lambda: None


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} ({torch.get_num_threads()} threads)"


def _peak_bytes(device: torch.device) -> dict[str, int]:
    if device.type == "cuda":
        return {
            "allocated on the GPU": torch.cuda.max_memory_allocated(device),
            "reserved on the GPU": torch.cuda.max_memory_reserved(device),
        }
    return {"of the process, without its workers": _peak_resident_bytes()}


def _peak_resident_bytes() -> int:
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # kB, on macOS bytes
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
