"""The doctor's child process: imports torch and nnU-Net, and prints a line of JSON for each step.

A step that fails or crashes the process loses no line before it. Output of the imports goes to stderr, so
that stdout holds the answers only.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from nnunet_ext.nnunet.folders import discovery_folder, same_folder, trainer_folders

TRAINERS = ("nnUNetTrainerCustomEpochs", "nnUNetTrainerEarlyStopping", "nnUNetTrainerExt")
NO_SUCH_CLASS = "nnunet_ext_tests_whether_all_modules_here_import"


def print_answers() -> None:
    """Run all steps and print their answers."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for step in steps():
            print(json.dumps(_attempt(*step)), file=answers, flush=True)


def steps() -> list[tuple[str, str, Callable[[], Any]]]:
    """The kind, subject and function of each step, in order."""
    others = [folder for folder in trainer_folders() if not same_folder(folder, discovery_folder())]
    return [
        ("torch", "torch", lambda: import_module("torch").__version__),
        ("torchvision", "torchvision", lambda: import_module("torchvision").__version__),
        ("device", "device", describe_devices),
        *(("folder", folder, partial(import_all_in, folder)) for folder in others),
        *(("trainer", name, partial(file_of_trainer, name)) for name in TRAINERS),
    ]


def describe_devices() -> dict[str, Any]:
    """List the devices that torch can compute on.

    Returns:
        `devices`: the name of each, and for a GPU its memory in bytes, `free` and `total`; `built_for`: the
        kind of GPU that this build of torch supports, None where it supports CPUs only.
    """
    import torch

    devices: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        name = f"CUDA {index}: {torch.cuda.get_device_name(index)}"
        devices.append({"name": name, "free": free, "total": total})
    if torch.backends.mps.is_available():
        devices.append({"name": "MPS (Apple)"})
    versions = {"CUDA": torch.version.cuda, "ROCm": torch.version.hip}
    return {"devices": devices, "built_for": next((f"{k} {v}" for k, v in versions.items() if v), None)}


def import_all_in(folder: str) -> None:
    """Import all modules in a folder of trainers as nnU-Net does, which ignores a missing folder."""
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    if os.path.exists(folder):  # noqa: PTH110, as nnU-Net asks
        recursive_find_python_class(folder, NO_SUCH_CLASS, None, folder, False, True)


def file_of_trainer(name: str) -> str | None:
    """The source file of the trainer class that nnU-Net finds by this name."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    return inspect.getsourcefile(recursive_find_trainer_class_by_name(name))


def _attempt(kind: str, subject: str, call: Callable[[], Any]) -> dict[str, Any]:
    """The answer of a step, or its error in one line; an imported module may raise even SystemExit."""
    try:
        return {"kind": kind, "subject": subject, "answer": call()}
    except (Exception, SystemExit) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        return {
            "kind": kind,
            "subject": subject,
            "error": f"{type(error).__name__}: {first}",
            "missing": missing,
        }
