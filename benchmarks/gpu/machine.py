"""Sets the machine up before any part: variables, threads, a data set; and describes it."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

PACKAGES = ("nnunetv2", "torch", "numpy", "batchgeneratorsv2", "dynamic_network_architectures", "SimpleITK")


def prepare(work: Path, device: str, *, is_small: bool, threads: int | None) -> None:
    """Set nnU-Net's variables to folders below `work`, make the data set where it is not there, warm up."""
    work.mkdir(parents=True, exist_ok=True)
    # nnU-Net reads these as it is imported. No part asks for a choice of the machine that it runs on.
    os.environ.update(
        {"nnUNet_def_n_proc": "1" if is_small else "2", "nnUNet_n_proc_DA": "1", "nnUNet_wandb_enabled": "0"}
    )
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(work / "compiled"))
    os.environ.setdefault("MPLCONFIGDIR", str(work / "matplotlib"))
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(work / name)
    from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery

    os.environ[TRAINER_VARIABLE] = with_discovery()
    import torch

    from gpu.data import make_data

    make_data(work, is_small=is_small)
    if device == "cuda":
        torch.zeros(1, device="cuda")
    # On a GPU nnU-Net's commands train with one thread; part 10 takes more while it predicts.
    torch.set_num_threads(threads or (1 if device == "cuda" else torch.get_num_threads()))


def describe_machine(device: str) -> dict[str, str]:
    """Describe the machine and the versions."""
    import torch

    from nnunet_ext import __version__

    told = {"device": device, "system": platform.platform(), "Python": platform.python_version()}
    if device == "cuda":
        told["device"] = torch.cuda.get_device_name()
        told["memory"] = f"{torch.cuda.get_device_properties(0).total_memory / 2**30:.1f} GiB"
        told["CUDA"] = str(torch.version.cuda)
        told["cuDNN"] = str(torch.backends.cudnn.version())
    told["processors"] = str(psutil.cpu_count())
    told["nnunet_ext"] = __version__
    for package in PACKAGES:
        try:
            told[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            told[package] = "?"
    return told


def tidy(device: str) -> None:
    """Free the memory that a part has left."""
    import torch

    torch._dynamo.reset()
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
