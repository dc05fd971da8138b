"""The demo's steps: the command of each, and the product that shows that it is finished."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.demo.commands import Command, run_command
from nnunet_ext.demo.dataset import (
    CONFIGURATIONS,
    DATASET,
    FILE_ENDING,
    FOLDS,
    N_TEST,
    N_TRAINING,
    PLANS,
    PREPROCESSED,
    TRAINER,
    DemoFolder,
    training_cases,
    write_dataset,
)
from nnunet_ext.demo.progress import OnCount
from nnunet_ext.errors import StepFailed
from nnunet_ext.jobs.pool import default_processes
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, discovery_folder

MAX_PROCESSES = 4
DEVICE_PROGRAM = """
import torch
found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
print(next(device for device, is_there in found.items() if is_there))
"""


@dataclass(frozen=True)
class DemoTraining:
    """The length of the demo's trainings, and their device.

    Attributes:
        n_epochs: epochs of each training.
        n_iterations: batches of each epoch.
        initial_lr: learning rate of the first epoch; above nnU-Net's, as there are few batches.
        device: `cpu`, `cuda` or `mps`; None takes the best device.
    """

    n_epochs: int = 14
    n_iterations: int = 30
    initial_lr: float = 0.02
    device: str | None = None


@dataclass(frozen=True)
class Step:
    """One step of the demo.

    Attributes:
        name: the step's name in messages and in the name of its log.
        n_units: the number of epochs or cases.
        is_done: returns whether the product exists.
        run: runs the step; calls its argument with the number of units done.
    """

    name: str
    n_units: int
    is_done: Callable[[], bool]
    run: Callable[[OnCount], None]


def model_steps(folder: DemoFolder, training: DemoTraining) -> list[Step]:
    """The steps from making the data to the probabilities of every member, in order."""
    members = [(configuration, fold) for configuration in CONFIGURATIONS for fold in FOLDS]
    return [
        _make_data(folder),
        _plan(folder),
        *(_train(folder, training, *member) for member in members),
        *(_predict(folder, training, *member) for member in members),
    ]


def _make_data(folder: DemoFolder) -> Step:
    return Step(
        "make data",
        N_TRAINING + N_TEST,
        (folder.dataset / "dataset.json").is_file,
        lambda on_count: write_dataset(folder.dataset, on_count),
    )


def _plan(folder: DemoFolder) -> Step:
    name = "plan and preprocess"
    command = Command(
        "python -m nnunet_ext.demo.planning",
        "nnunet_ext.demo.planning:plan_phantom_data",
        counted=f"^{PREPROCESSED}",
    )
    # nnU-Net's planner sets torch's threads to nnUNet_n_proc_DA, and torch refuses 0.
    environment = _environment(folder) | {"nnUNet_n_proc_DA": "1"}
    return Step(
        name,
        N_TRAINING,
        lambda: _is_planned(folder),
        lambda on_count: run_command(name, command, environment, folder.log(name), on_count),
    )


def _is_planned(folder: DemoFolder) -> bool:
    """Whether all cases are preprocessed; their references are copied last."""
    references = folder.preprocessed / "gt_segmentations"
    if not all((references / f"{case}{FILE_ENDING}").is_file() for case in training_cases()):
        return False
    plans = json.loads((folder.preprocessed / f"{PLANS}.json").read_text(encoding="utf-8"))
    return set(CONFIGURATIONS) <= set(plans["configurations"])


def _train(folder: DemoFolder, training: DemoTraining, configuration: str, fold: int) -> Step:
    name = f"train {configuration}, fold {fold}"
    home = folder.fold(configuration, fold)
    products = home / "checkpoint_final.pth", home / "validation" / "summary.json"

    def run(on_count: OnCount) -> None:
        command = _train_command(training, configuration, fold, is_begun=_is_begun(home))
        environment = _environment(folder) | _trainer_settings(training)
        run_command(name, command, environment, folder.log(name), on_count)

    return Step(name, training.n_epochs, lambda: all(path.is_file() for path in products), run)


def _is_begun(home: Path) -> bool:
    return any((home / f"checkpoint_{which}.pth").is_file() for which in ("latest", "final"))


def _train_command(training: DemoTraining, configuration: str, fold: int, is_begun: bool) -> Command:
    options = ("-tr", TRAINER, "-p", PLANS, "-device", training.device or find_best_device())
    return Command(
        "nnUNetv2_train",
        "nnunetv2.run.run_training:run_training_entry",
        (DATASET, configuration, str(fold), *options, *(["--c"] if is_begun else [])),
        counted=r"Epoch time: ",
    )


def _predict(folder: DemoFolder, training: DemoTraining, configuration: str, fold: int) -> Step:
    name = f"predict {configuration}, fold {fold}"
    target = folder.prediction(configuration, fold)

    def run(on_count: OnCount) -> None:
        # nnU-Net writes to another folder, so that a folder of this name is complete.
        part = target.with_name(f"{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        command = _predict_command(folder, training, configuration, fold, part)
        run_command(name, command, _environment(folder), folder.log(name), on_count)
        part.rename(target)

    return Step(name, N_TEST, target.is_dir, run)


def _predict_command(
    folder: DemoFolder, training: DemoTraining, configuration: str, fold: int, target: Path
) -> Command:
    what = ("-d", DATASET, "-c", configuration, "-f", str(fold), "-tr", TRAINER, "-p", PLANS)
    # No workers: for four small cases their start would take longer than the prediction.
    how = ("--save_probabilities", "--disable_tta", "-npp", "0", "-nps", "0")
    device = training.device or find_best_device()
    return Command(
        "nnUNetv2_predict",
        "nnunetv2.inference.predict_from_raw_data:predict_entry_point",
        ("-i", str(folder.dataset / "imagesTs"), "-o", str(target), *what, *how, "-device", device),
        counted=r"^perform_everything_on_device",
    )


def _environment(folder: DemoFolder) -> dict[str, str]:
    """The variables of a child process: the user's, except for nnU-Net's, which would change the demo."""
    others = {key: value for key, value in os.environ.items() if not key.lower().startswith("nnunet_")}
    return {
        **others,
        **{name: str(path.resolve()) for name, path in folder.nnunet.items()},
        TRAINER_VARIABLE: str(discovery_folder()),
        "nnUNet_n_proc_DA": "0",
        "nnUNet_def_n_proc": str(min(default_processes(), MAX_PROCESSES)),
        "nnUNet_compile": "f",
        "PYTHONUTF8": "1",
        "PYTHONSAFEPATH": "1",  # a torch.py in the current folder is not torch
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads slow down other programs
        "PYTORCH_ENABLE_MPS_FALLBACK": "1",
    }


def _trainer_settings(training: DemoTraining) -> dict[str, str]:
    return {
        "nnUNet_n_epochs": str(training.n_epochs),
        "nnUNet_n_iterations": str(training.n_iterations),
        "nnUNet_n_val_iterations": "3",
        "nnUNet_initial_lr": str(training.initial_lr),
        "nnUNet_save_every": "1",
        "nnUNet_patience": str(training.n_epochs),
    }


@functools.cache
def find_best_device() -> str:
    """The best device of torch on this machine; a child process is asked, so that this one imports no torch.

    Raises:
        StepFailed: torch cannot be imported.
    """
    answer = subprocess.run(
        [sys.executable, "-c", DEVICE_PROGRAM], capture_output=True, text=True, check=False, encoding="utf-8"
    )
    if answer.returncode != 0:
        raise StepFailed(f"torch could not be imported to find a device:\n{answer.stderr.strip()}")
    return answer.stdout.split()[-1]
