"""Description of the environment of a training: machine, versions, GPUs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from typing import Any

import torch

from nnunet_ext import __version__

PACKAGES = (
    "nnunetv2",
    "torch",
    "numpy",
    "timm",
    "batchgenerators",
    "batchgeneratorsv2",
    "dynamic-network-architectures",
)
DRIVER_QUERY = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


def describe_environment() -> dict[str, Any]:
    """Describe machine, system, versions and GPUs; what does not exist is None or empty."""
    return {
        "host": platform.node(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "gpus": gpu_names(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "driver": _driver() if torch.cuda.is_available() else None,
        "versions": versions(),
    }


def versions() -> dict[str, str | None]:
    """Find the versions of this package and of those that results depend on; None for one not installed."""
    return {"nnunet_ext": __version__, **{name: _version(name) for name in PACKAGES}}


def gpu_names() -> list[str]:
    """List the names of the GPUs that this process can use."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_name(index) for index in range(count)]


def command_line() -> str:
    """The command line of this process, quoted for a shell."""
    return shlex.join([sys.executable, *sys.argv])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """Find the version of NVIDIA's driver; None where it cannot be found."""
    try:
        done = subprocess.run(DRIVER_QUERY, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)
