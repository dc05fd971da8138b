"""Run in a process of its own: imports torch and nnU-Net and says what came of it, a line of JSON a step.

A step that fails or takes the process down loses no line before it. What the imports print goes to
stderr, so that stdout holds these lines alone.
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
NO_SUCH_CLASS = "nnunet_ext_is_looking_whether_all_modules_here_import"


def main() -> None:
    """Do all steps."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for step in steps():
            print(json.dumps(_attempt(*step)), file=answers, flush=True)


def steps() -> list[tuple[str, str, Callable[[], Any]]]:
    """Kind, subject and call of each step, in order."""
    others = [folder for folder in trainer_folders() if not same_folder(folder, discovery_folder())]
    return [
        ("torch", "torch", lambda: import_module("torch").__version__),
        ("torchvision", "torchvision", lambda: import_module("torchvision").__version__),
        ("device", "device", describe_devices),
        *(("folder", folder, partial(import_all_in, folder)) for folder in others),
        *(("trainer", name, partial(file_of_trainer, name)) for name in TRAINERS),
    ]


def describe_devices() -> dict[str, Any]:
    """What torch can compute on.

    Returns:
        `devices`, a name each and for a GPU its memory in bytes, `free` and `total`; and `built_for`,
        the GPUs that this build of torch could use, None where it is one for CPUs alone.
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
    """Import whatever nnU-Net would in a folder of trainers; it passes over a folder that is not there."""
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    if os.path.exists(folder):  # noqa: PTH110, as nnU-Net asks
        recursive_find_python_class(folder, NO_SUCH_CLASS, None, folder, False, True)


def file_of_trainer(name: str) -> str | None:
    """The file of the class that nnU-Net finds under this name."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    return inspect.getsourcefile(recursive_find_trainer_class_by_name(name))


def _attempt(kind: str, subject: str, call: Callable[[], Any]) -> dict[str, Any]:
    """The call's answer, or its error in one line; a module may raise what it likes, even SystemExit."""
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
