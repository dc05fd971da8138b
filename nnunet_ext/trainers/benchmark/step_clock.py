"""A clock around the steps of any nnU-Net trainer, whose own loop runs and is left after the last of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from nnunet_ext.errors import NnunetExtError
from nnunet_ext.trainers.benchmark.speed import Operator, Speed

N_PROFILED = 5  # after the counted steps, which a profiler would slow down; more are hard to look at
N_OPERATORS = 10
MICROSECOND = 1e-6


class Enough(Exception):
    """Leaves nnU-Net's loop, which heeds no other sign."""


class _TimedLoader:
    """Gives the batches of another loader; counts their patches and the time they were waited for."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.begin()

    def begin(self) -> None:
        """Count anew."""
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
    """Measures a trainer's steps: what lies between two of them belongs to the later one.

    The trainer's own `run_training` goes through its hooks, so that what these cost counts too.

    Args:
        trainer: one that has not begun.
        n_warmup: steps before those that count, at least 1.
        n_counted: steps that count.
        profiler: to run for a few steps after these, None for none.
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
        """Train until the last step and say how fast the counted ones were.

        Raises:
            NnunetExtError: the training ended before that.
        """
        try:
            self._trainer.run_training()
            raise NnunetExtError(
                f"{type(self._trainer).__name__} ended its training after {self._n_done} of "
                f"{self._n_steps} steps: take less by -n_iterations."
            )
        except Enough:
            pass
        finally:
            self._end()
        device = self._trainer.device
        return Speed(
            _name(device),
            tuple(self._step_s),
            tuple(self._wait_s),
            self._n_samples,
            _peak_bytes(device),
            operators=_costliest(self._profiler, device.type) if self._profiler else (),
        )

    def _on_train_start(self) -> None:
        self._start()
        self._trainer.dataloader_train = self._loader = _TimedLoader(self._trainer.dataloader_train)

    def _on_train_epoch_start(self) -> None:
        self._start_epoch()
        # As late as this: a trainer may set it anew for each epoch.
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
            raise Enough
        if self._n_done == self._n_timed:
            self._profiler.start()
        self._loader.begin()
        self._ended_s = time.perf_counter()
        return output

    def _end(self) -> None:
        """End the profile, and the workers that load data."""
        if self._profiler and self._n_done >= self._n_timed:
            self._profiler.stop()
        for loader in (self._trainer.dataloader_train, self._trainer.dataloader_val):
            if callable(finish := getattr(loader, "_finish", None)):
                finish()


def new_profiler(device: str) -> Any:
    """A profiler of torch's operators on the processor, and on the GPU where that is the device."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    return profile(activities=activities)


def _costliest(profiler: Any, device: str) -> tuple[Operator, ...]:
    """The operators with most time of their own, on the GPU where that is the device."""
    # Kernels stand there beside the operators that started them, with the same time.
    events = [event for event in profiler.key_averages() if event.device_type.name == "CPU"]
    times = [(_own_us(event, device), event) for event in events]
    total = sum(own for own, _ in times) or 1.0
    highest = sorted(times, key=lambda time_and_event: -time_and_event[0])[:N_OPERATORS]
    return tuple(Operator(event.key, own * MICROSECOND, own / total, event.count) for own, event in highest)


def _own_us(event: Any, device: str) -> float:
    if device != "cuda":
        return float(event.self_cpu_time_total)
    # Its name until torch 2.4.
    old = getattr(event, "self_cuda_time_total", 0.0)
    return float(getattr(event, "self_device_time_total", old))


def _synchronize(device: str) -> Callable[[], None]:
    """Waits until the device has done what it was told to."""
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

    # In kB, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
