"""What torch can compute on here, and the memory there; torch is imported only where it must answer."""

from __future__ import annotations

import ctypes
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.errors import UsageError
from nnunet_ext.jobs.pool import worker_number

if TYPE_CHECKING:
    import torch

# torch's version.py has lines like `cuda: Optional[str] = '13.0'`, or `= None` for a build without CUDA.
BUILT_FOR = re.compile(r"^(cuda|hip)\b[^=\n]*=\s*['\"]", re.MULTILINE)
CUDA_DRIVER = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"


def check_device(device: str, n_gpus: int = 1) -> None:
    """Refuse a device that torch cannot compute on here.

    The import of torch takes seconds. A build of torch without GPUs, and a build for CUDA without a
    driver, are refused before it.

    Args:
        device: `cuda`, `cpu` or `mps`.
        n_gpus: number of CUDA GPUs that are needed.

    Raises:
        UsageError: torch has no such device, or fewer GPUs.
    """
    if device == "cpu":
        return
    if device == "cuda" and (fault := _fault_without_torch()):
        raise UsageError(f"-device is cuda, but {fault}; or take -device cpu.")
    import torch

    if device == "mps" and not torch.backends.mps.is_available():
        raise UsageError("-device is mps, but torch sees no Apple GPU here: take -device cpu or cuda.")
    if device == "cuda" and torch.cuda.device_count() < n_gpus:
        asked = f" and {n_gpus} GPUs are asked for" if n_gpus > 1 else ""
        raise UsageError(
            f"-device is cuda{asked}, but torch {torch.__version__} sees {torch.cuda.device_count()} GPUs: "
            "look at the driver with nvidia-smi and at CUDA_VISIBLE_DEVICES, or take -device cpu."
        )


def _fault_without_torch() -> str | None:
    """Explain why torch cannot compute on a GPU and what to do; None where that is not certain."""
    built_for = _built_for()
    if built_for is None:
        return None
    if not built_for:
        return "torch is installed in its build for processors: install the build for your GPU"
    if "cuda" in built_for and not _can_be_loaded(CUDA_DRIVER):
        return f"this machine has no NVIDIA driver ({CUDA_DRIVER} cannot be loaded): install it"
    return None


def _built_for() -> set[str] | None:
    """Read which of cuda and hip the installed torch is built for; None where that cannot be read."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return None
    return set(BUILT_FOR.findall(text)) if "cuda" in text else None


def _can_be_loaded(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def device_of_worker(device: str, n_gpus: int) -> torch.device:
    """The device of this process: workers side by side take one GPU each, in turn.

    Args:
        device: `cuda`, `cpu` or `mps`.
        n_gpus: number of GPUs to use; 0 is all that torch sees.
    """
    import torch

    number = worker_number()
    if device != "cuda" or number is None:
        return torch.device(device)
    return torch.device("cuda", number % (n_gpus or max(1, torch.cuda.device_count())))


def free_bytes(device: torch.device) -> int | None:
    """Memory of a device that torch can still take; None where that is not known."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch raised this because a device has too little memory; MPS raises a plain RuntimeError."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )
