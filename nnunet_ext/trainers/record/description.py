"""Description of a training for `training_config.json`, from the attributes of its trainer."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nnunetv2.utilities.crossval_split import generate_crossval_split
from torch import distributed

from nnunet_ext import __version__
from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.nnunet.dataset_json import labels_of
from nnunet_ext.nnunet.splits import SPLITS, read_splits
from nnunet_ext.nnunet.subjects import SUBJECTS, read_subjects
from nnunet_ext.trainers.case_labels import cases_with_labels
from nnunet_ext.trainers.policies.continuation import FoldCases, sha256_of_content
from nnunet_ext.trainers.record.dataset import describe_dataset
from nnunet_ext.trainers.record.environment import command_line, describe_environment, gpu_names, versions
from nnunet_ext.trainers.record.network import describe_network

NNUNETS_FOLDS, NNUNETS_SEED = 5, 12345


def describe_training(
    trainer: Any, network: Any, cases: FoldCases, say: Callable[[str], None]
) -> dict[str, Any]:
    """Describe a training before its first epoch.

    Args:
        trainer: the trainer, initialized.
        network: its network, neither compiled nor wrapped.
        cases: the cases of the fold.
        say: called with a sentence on each thing that could not be found out.
    """
    network_facts = describe_network(
        network, trainer.num_input_channels, trainer.configuration_manager.patch_size
    )
    if fault := network_facts.get("flops_fault"):
        say(f"The FLOPs of this network are not recorded, as they could not be counted: {fault}")
    return {
        "trainer": type(trainer).__name__,
        "nnunet_ext": __version__,
        "plans": trainer.plans_manager.plans_name,
        "configuration": trainer.configuration_name,
        "fold": trainer.fold,
        "output_folder": str(trainer.output_folder),
        "command": command_line(),
        "environment": {"device": str(trainer.device), **describe_environment()},
        "dataset": _describe_dataset(trainer, cases, say),
        "network": network_facts,
        "batch": describe_batch(trainer),
        "settings": describe_settings(trainer),
        "sha256": {
            "plans": sha256_of_content(trainer.plans_manager.plans),
            "split": cases.sha256,
        },
    }


def describe_settings(trainer: Any) -> dict[str, dict[str, Any]]:
    """List every setting by name, with its value and where that came from."""
    return {
        name: {"value": value, "source": trainer.resolved.origins[name]} for name, value in trainer.settings
    }


def describe_start(epoch: int) -> dict[str, Any]:
    """Describe one start of a training, with the first epoch to be trained."""
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "epoch": epoch,
        "command": command_line(),
        "host": describe_host(),
        "gpus": gpu_names(),
        "versions": versions(),
    }


def describe_host() -> str:
    """Describe this machine: its name, and the number of the Slurm job if there is one."""
    job = os.environ.get("SLURM_JOB_ID")
    return platform.node() + (f", Slurm job {job}" if job else "")


def describe_batch(trainer: Any) -> dict[str, int]:
    """Describe the batch of one step; nnU-Net divides the batch of the plans among the ranks."""
    n_ranks = distributed.get_world_size() if trainer.is_ddp else 1
    batch, accumulated = trainer.configuration_manager.batch_size, trainer.settings.accumulate
    return {
        "batch_size": batch,
        "ranks": n_ranks,
        "batch_size_of_rank_0": trainer.batch_size,
        "accumulated": accumulated,
        "effective_batch_size": batch * accumulated,
    }


def dice_names(trainer: Any) -> tuple[str, ...]:
    """Find the names of labels or regions in the order of nnU-Net's Dice.

    Numbers take their place if the names in dataset.json cannot be read here but by nnU-Net.
    """
    manager = trainer.label_manager
    n_labels = len(manager.foreground_regions if manager.has_regions else manager.foreground_labels)
    try:
        labels = labels_of(trainer.dataset_json)
        names = tuple(labels.names[i] for i in labels.foreground)
    except (DatasetError, KeyError, TypeError, ValueError):
        names = ()
    return names if len(names) == n_labels else tuple(str(i + 1) for i in range(n_labels))


def split_made_by(trainer: Any) -> str:
    """Describe how training and validation cases were divided.

    Source: nnU-Net's `do_split`.
    """
    if trainer.fold == "all":
        return "fold all: all cases on both sides"
    try:
        folds = read_splits(Path(trainer.preprocessed_dataset_folder_base) / SPLITS)
    except (UsageError, DatasetError) as error:  # another fold may be wrong: no reason to record nothing
        return f"{SPLITS}, of which not all can be read: {error}"
    if trainer.fold >= len(folds):
        return f"nnU-Net's random 80:20: {SPLITS} has {len(folds)} folds, and this is fold {trainer.fold}"
    return f"{SPLITS}, nnU-Net's random five folds" if _is_nnunets(folds) else f"{SPLITS}, not nnU-Net's own"


def _is_nnunets(folds: Sequence[Mapping[str, Sequence[str]]]) -> bool:
    cases = sorted({*folds[0]["train"], *folds[0]["val"]})
    if len(cases) < NNUNETS_FOLDS:
        return False
    made = generate_crossval_split(cases, seed=NNUNETS_SEED, n_splits=NNUNETS_FOLDS)
    return [{key: list(map(str, fold[key])) for key in fold} for fold in made] == list(folds)


def _describe_dataset(trainer: Any, cases: FoldCases, say: Callable[[str], None]) -> dict[str, Any]:
    faults: list[str] = []
    try:
        labels = labels_of(trainer.dataset_json)
        names = sorted({*cases.train, *cases.val})
        held = cases_with_labels(Path(trainer.preprocessed_dataset_folder), names, labels, faults.append)
    except (DatasetError, KeyError) as error:
        held = {}
        faults.append(f"Cases per label were not counted: {error}")
    for fault in faults:
        say(fault)
    known = None
    try:
        known = read_subjects(Path(trainer.preprocessed_dataset_folder_base) / SUBJECTS)
    except DatasetError as error:
        say(f"Subjects are counted by the cases' names: {error}")
    return describe_dataset(
        trainer.plans_manager.dataset_name, cases, split_made_by(trainer), held, faults, known
    )
