"""The load of this machine: GPUs, memory and disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One NVIDIA GPU; a value that the driver does not report is None."""

    index: int
    name: str
    use_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class MachineLoad:
    """The resources of a machine, and how much of them is in use.

    Attributes:
        gpus: the NVIDIA GPUs; empty where nvidia-ml-py is not installed or finds no driver.
        ram_used_bytes: memory that is not available to programs.
        ram_total_bytes: memory in all.
        disk_free_bytes: free space on the disk of the results; None where it cannot be read.
    """

    gpus: tuple[Gpu, ...]
    ram_used_bytes: int
    ram_total_bytes: int
    disk_free_bytes: int | None


def find_load(folder: Path) -> MachineLoad:
    """Read the current load of the machine.

    Args:
        folder: a folder on the disk whose free space is read.
    """
    import psutil

    memory = psutil.virtual_memory()
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = None
    return MachineLoad(find_gpus(), memory.total - memory.available, memory.total, free)


def find_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs of this machine; empty where the driver cannot be reached."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def asked(question: Callable[..., Any], *more: Any) -> Any:
        try:
            return question(handle, *more)
        except nvml.NVMLError:  # not every GPU reports every value
            return None

    name = asked(nvml.nvmlDeviceGetName) or "GPU"
    rates = asked(nvml.nvmlDeviceGetUtilizationRates)
    memory = asked(nvml.nvmlDeviceGetMemoryInfo)
    power_mw = asked(nvml.nvmlDeviceGetPowerUsage)
    return Gpu(
        index=index,
        name=name.decode() if isinstance(name, bytes) else str(name),
        use_percent=None if rates is None else float(rates.gpu),
        memory_used_bytes=None if memory is None else int(memory.used),
        memory_total_bytes=None if memory is None else int(memory.total),
        temperature_c=asked(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        power_w=None if power_mw is None else power_mw / 1000,
    )
