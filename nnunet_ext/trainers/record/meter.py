"""Measurements of an epoch: time spent waiting for batches, and GPU memory."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import torch

from nnunet_ext.trainers.record.history import Measures

MIB = 1 << 20
SAMPLE_SECONDS = 0.5


class TimedBatches:
    """A stream of batches that measures the time spent waiting for them.

    All other attributes are those of the stream.

    Args:
        source: the stream.
        on_next: called after each batch.

    Attributes:
        source: the stream.
        waited_s: seconds spent waiting so far.
    """

    def __init__(self, source: Iterator[Any], on_next: Callable[[], None] = lambda: None) -> None:
        self.source, self.waited_s = source, 0.0
        self._on_next = on_next

    def __iter__(self) -> TimedBatches:
        return self

    def __next__(self) -> Any:
        began = time.perf_counter()
        batch = next(self.source)
        self.waited_s += time.perf_counter() - began
        self._on_next()
        return batch

    def __getattr__(self, name: str) -> Any:
        if name == "source":  # a copy that is being made has no source yet
            raise AttributeError(name)
        return getattr(self.source, name)


class MeanOverTime:
    """Mean of a value that a thread samples from `begin` to `end`.

    Args:
        look: returns the value.
        every_s: seconds between two samples.
    """

    def __init__(self, look: Callable[[], float], every_s: float = SAMPLE_SECONDS) -> None:
        self._look, self._every_s = look, every_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: list[float] = []

    def begin(self) -> None:
        """Start sampling anew."""
        self.end()
        self._seen, self._stop = [], threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), daemon=True)
        self._thread.start()

    def end(self) -> float:
        """Stop sampling, and return the mean since `begin`; NaN without samples."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return fmean(self._seen) if self._seen else float("nan")

    def _run(self, stop: threading.Event) -> None:
        self._seen.append(self._look())
        while not stop.wait(self._every_s):
            self._seen.append(self._look())


class DeviceMemory:
    """Memory of a device on which it is not measured."""

    def begin(self) -> None:
        """Begin the measurement of an epoch."""

    def mean_mib(self) -> float:
        """End the sampling, and return the mean memory since `begin` in MiB; NaN where it is not measured."""
        return float("nan")

    def peak_mib(self) -> float:
        """Highest memory since `begin` in MiB; NaN where it is not measured."""
        return float("nan")


class EpochMeter:
    """Measures one epoch after the other.

    Args:
        stream: training batches.
        memory: memory of the device.
    """

    def __init__(self, stream: TimedBatches, memory: DeviceMemory) -> None:
        self.stream, self._memory = stream, memory
        self._began, self._waited_s = 0.0, 0.0
        self._share = self._mean_mib = self._norm = self._n_skipped = math.nan

    def begin(self) -> None:
        """Begin to measure an epoch."""
        self._share = self._mean_mib = self._norm = self._n_skipped = math.nan
        self._memory.begin()
        self._began, self._waited_s = time.perf_counter(), self.stream.waited_s

    def end_training(self, gradient_norms: Sequence[float]) -> None:
        """End the measurement of the epoch's training, before its validation.

        Args:
            gradient_norms: norm of each step's gradient, not finite where the step was not made.
        """
        elapsed = time.perf_counter() - self._began
        self._share = (self.stream.waited_s - self._waited_s) / elapsed if elapsed > 0 else math.nan
        finite = [norm for norm in gradient_norms if math.isfinite(norm)]
        self._norm = fmean(finite) if finite else math.nan
        self._n_skipped = float(len(gradient_norms) - len(finite))
        self._mean_mib = self._memory.mean_mib()

    def measures(self) -> Measures:
        """Return the measurements of the epoch."""
        return Measures(
            waiting_share=self._share,
            gpu_memory_mean_mib=self._mean_mib,
            gpu_memory_peak_mib=self._memory.peak_mib(),
            gradient_norm=self._norm,
            skipped_steps=self._n_skipped,
        )

    def close(self) -> None:
        """Stop sampling the memory, where an epoch did not end."""
        self._memory.mean_mib()


class GpuMemory(DeviceMemory):
    """Memory of tensors on a GPU, sampled by a thread so that no step waits for it.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._mean = MeanOverTime(partial(torch.cuda.memory_allocated, device))

    def begin(self) -> None:
        """Begin the measurement of an epoch."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._mean.begin()

    def mean_mib(self) -> float:
        """End the sampling, and return the mean memory since `begin` in MiB."""
        return self._mean.end() / MIB

    def peak_mib(self) -> float:
        """Highest memory since `begin` in MiB."""
        return float(torch.cuda.max_memory_allocated(self._device)) / MIB


def memory_of(device: torch.device) -> DeviceMemory:
    """Make the measurement of a device's memory, which only CUDA supports."""
    return GpuMemory(device) if device.type == "cuda" else DeviceMemory()
