"""What an epoch costs: the time its batches were waited for, and the memory it held."""

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


class Timed:
    """A stream of batches that knows how long it was waited for.

    In everything else it is the stream itself.

    Attributes:
        source: the stream.
        waited_s: seconds waited so far.
    """

    def __init__(self, source: Iterator[Any], on_next: Callable[[], None] = lambda: None) -> None:
        self.source, self.waited_s = source, 0.0
        self._on_next = on_next

    def __iter__(self) -> Timed:
        return self

    def __next__(self) -> Any:
        began = time.perf_counter()
        batch = next(self.source)
        self.waited_s += time.perf_counter() - began
        self._on_next()
        return batch

    def __getattr__(self, name: str) -> Any:
        if name == "source":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.source, name)


class MeanOverTime:
    """Mean of a value that a thread looks at now and then, from `begin` to `end`."""

    def __init__(self, look: Callable[[], float], every_s: float = SAMPLE_SECONDS) -> None:
        self._look, self._every_s = look, every_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: list[float] = []

    def begin(self) -> None:
        """Begin anew."""
        self.end()
        self._seen, self._stop = [], threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), daemon=True)
        self._thread.start()

    def end(self) -> float:
        """The mean since the beginning; NaN where there was none."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return fmean(self._seen) if self._seen else float("nan")

    def _run(self, stop: threading.Event) -> None:
        self._seen.append(self._look())
        while not stop.wait(self._every_s):
            self._seen.append(self._look())


class Memory:
    """Memory of a device; this one has none to tell of."""

    def begin(self) -> None:
        """Begin an epoch."""

    def mean_mib(self) -> float:
        """Mean since the beginning."""
        return float("nan")

    def peak_mib(self) -> float:
        """The most since the beginning."""
        return float("nan")


class EpochMeter:
    """Measures one epoch after the other.

    Args:
        stream: the training's batches.
        memory: the device's.
    """

    def __init__(self, stream: Timed, memory: Memory) -> None:
        self.stream, self._memory = stream, memory
        self._began, self._waited_s = 0.0, 0.0
        self._share = self._mean_mib = self._norm = self._n_skipped = math.nan

    def begin(self) -> None:
        """Begin the training of an epoch."""
        self._share = self._mean_mib = self._norm = self._n_skipped = math.nan
        self._memory.begin()
        self._began, self._waited_s = time.perf_counter(), self.stream.waited_s

    def end_training(self, gradient_norms: Sequence[float]) -> None:
        """End the epoch's training; what follows is validation.

        Args:
            gradient_norms: one a step, not finite where the step was not made.
        """
        elapsed = time.perf_counter() - self._began
        self._share = (self.stream.waited_s - self._waited_s) / elapsed if elapsed > 0 else math.nan
        finite = [norm for norm in gradient_norms if math.isfinite(norm)]
        self._norm = fmean(finite) if finite else math.nan
        self._n_skipped = float(len(gradient_norms) - len(finite))
        self._mean_mib = self._memory.mean_mib()

    def measures(self) -> Measures:
        """What the epoch has cost."""
        return Measures(self._share, self._mean_mib, self._memory.peak_mib(), self._norm, self._n_skipped)

    def close(self) -> None:
        """Stop looking at the memory, where an epoch was broken off."""
        self._memory.mean_mib()


class GpuMemory(Memory):
    """Memory that tensors hold on a GPU, looked at from a thread, so that no step waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._mean = MeanOverTime(partial(torch.cuda.memory_allocated, device))

    def begin(self) -> None:
        """Forget the epoch before."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._mean.begin()

    def mean_mib(self) -> float:
        """Mean since the beginning, at which looking ends."""
        return self._mean.end() / MIB

    def peak_mib(self) -> float:
        """The most since the beginning."""
        return float(torch.cuda.max_memory_allocated(self._device)) / MIB


def memory_of(device: torch.device) -> Memory:
    """Memory of a device; only CUDA tells it."""
    return GpuMemory(device) if device.type == "cuda" else Memory()
