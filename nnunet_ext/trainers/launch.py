"""Start of a training in this process: options become variables, then nnU-Net's own function runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_ext.errors import SettingsError, UsageError
from nnunet_ext.installation.machine import SLEEPING, WAITING_VARIABLE
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery
from nnunet_ext.trainers.policies.interruption import REQUEUE_EXIT_CODE, Interruption, RunInterrupted
from nnunet_ext.trainers.settings.definition import READERS
from nnunet_ext.trainers.settings.recipe_names import TRAINER, is_recipe, parse_recipe
from nnunet_ext.trainers.settings.resolution import NAME, ResolvedSettings, resolve_settings
from nnunet_ext.trainers.settings.variables import PREFIX

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A training to start; the other attributes have the names and meanings of nnU-Net's `run_training`.

    Attributes:
        dataset: number or name of the data set.
        configuration: name of a configuration of the plans.
        fold: a number or `all`.
        trainer: name of a trainer of this package, with or without settings in it.
        plans: identifier of the plans.
        options: settings by name, as texts.
        device: cuda, cpu or mps.
        num_gpus: number of GPUs to train on together.
    """

    dataset: str
    configuration: str
    fold: str
    trainer: str = TRAINER
    plans: str = "nnUNetPlans"
    options: Mapping[str, str] | None = None
    device: str = "cuda"
    num_gpus: int = 1
    continue_training: bool = False
    only_run_validation: bool = False
    export_validation_probabilities: bool = False
    disable_checkpointing: bool = False
    val_with_best: bool = False


def resolve_launch(
    trainer: str,
    options: Mapping[str, str],
    environment: Mapping[str, str] = os.environ,
    *,
    is_continued: bool = False,
) -> ResolvedSettings[Any]:
    """Find the settings of a training as its trainer will, without the import of the trainer.

    Options override variables. A setting that has one value in the trainer's name and another in an option,
    variable or file is refused, unless the training is continued.

    Raises:
        UsageError: the trainer is none of this package.
        SettingsError: the trainer's name or a setting is wrong.
    """
    name = parse_recipe(trainer).base if is_recipe(trainer) else trainer
    if name not in READERS:
        raise UsageError(
            f"Trainer {trainer} is none of {', '.join(READERS)}: train nnU-Net's own with nnUNetv2_train."
        )
    recipe = parse_recipe(trainer).values if is_recipe(trainer) else {}
    resolved = resolve_settings(
        READERS[name], {**environment, **_variables(options)}, recipe=recipe, is_continued=is_continued
    )
    origins = {
        setting: f"option -{setting}" if setting in options and origin != NAME else origin
        for setting, origin in resolved.origins.items()
    }
    return replace(resolved, origins=origins)


def _variables(options: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + setting: value for setting, value in options.items()}


def check_launch(order: Launch) -> None:
    """Check a training's options without a look at the machine and the data.

    Raises:
        UsageError: the trainer, its name or a setting is wrong, or options exclude each other.
    """
    resolved = resolve_launch(order.trainer, order.options or {}, is_continued=order.continue_training)
    if order.fold != "all" and not order.fold.isdecimal():
        raise UsageError(f"Fold {order.fold!r} is neither a number nor all.")
    if order.num_gpus < 1 or (order.num_gpus > 1 and order.device != "cuda"):
        raise UsageError(
            f"-num_gpus is {order.num_gpus} and -device {order.device}: take at least 1, and 1 without CUDA."
        )
    if resolved.values.model_dump().get("amp") == "fp16" and order.device != "cuda":
        raise SettingsError(f"amp is fp16, but -device is {order.device}: take bf16, off or auto.")
    if order.continue_training and order.only_run_validation:
        raise UsageError("--c and --val exclude each other: leave out one.")


def launch(order: Launch) -> None:
    """Run a training by nnU-Net's own function.

    The settings and the folder of the trainers become environment variables, which the processes of several
    GPUs inherit.

    Raises:
        UsageError: the trainer, its name or a setting is wrong, or options exclude each other.
    """
    check_launch(order)
    os.environ.update(_variables(order.options or {}))
    os.environ[TRAINER_VARIABLE] = with_discovery()
    if order.device == "cpu":
        os.environ.setdefault(WAITING_VARIABLE, SLEEPING)  # read at the import of torch
    else:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))

    if is_one_of_several():
        _run_as_rank(order)
    else:
        _run(order)


def is_one_of_several(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun started this process as one of several; it is known by its variables."""
    return all(name in environment for name in RANK_VARIABLES)


def _run_as_rank(order: Launch) -> None:
    from nnunet_ext.trainers.ranks import process_group

    if order.num_gpus != 1:
        raise UsageError(f"-num_gpus is {order.num_gpus}, but torchrun starts the processes: leave it out.")
    with process_group(order.device):
        _run(order)


def _run(order: Launch) -> None:
    """Train by nnU-Net's function; before and after the training itself a signal ends the program at once.

    On several GPUs the exit code is that of nnU-Net's processes, without the traceback of waiting for them.
    """
    interruption = Interruption(Path())
    listening = interruption.listening(at_once=True) if order.num_gpus == 1 else nullcontext()
    try:
        with listening:
            _train(order)
    except RunInterrupted:
        print(f"Interrupted by {interruption.reason()}. --c goes on from what is written.", file=sys.stderr)
        raise SystemExit(REQUEUE_EXIT_CODE) from None


def _train(order: Launch) -> None:
    import torch
    from nnunetv2.run.run_training import run_training

    # As nnU-Net's own command does: with a GPU more threads only hinder each other.
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, cores) if order.device == "cpu" else 1)
    try:
        run_training(
            order.dataset,
            order.configuration,
            order.fold,
            order.trainer,
            order.plans,
            None,  # pretrained weights are a setting here
            order.num_gpus,
            order.export_validation_probabilities,
            order.continue_training,
            order.only_run_validation,
            order.disable_checkpointing,
            order.val_with_best,
            device=torch.device(order.device),
        )
    except torch.multiprocessing.ProcessExitedException as error:
        raise SystemExit(error.exit_code) from None
