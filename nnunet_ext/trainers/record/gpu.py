"""Memory of a GPU during an epoch."""

from __future__ import annotations

from functools import partial

import torch

from nnunet_ext.trainers.record.meter import MIB, MeanOverTime, Memory


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
