"""A trained UNet++ and its branches as networks of their own.

The branch X(0, d) of a UNet++ needs the encoder stages 0 to d and the nodes X(i, j) with i + j <= d. These
are a UNet++ of d + 1 stages whose weights have the same names, so nnU-Net builds a branch from the plans
without further code.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.networks.architecture import Architecture, first_stages
from nnunet_ext.networks.checkpoint_file import read_checkpoint
from nnunet_ext.nnunet.dataset_json import read_dataset_json
from nnunet_ext.nnunet.model_folder import (
    DATASET_FILE,
    FINAL_CHECKPOINT,
    PLANS_FILE,
    find_fold_folders,
    fold_name,
)
from nnunet_ext.nnunet.plans import read_plans_content

NESTED = "decoder.nodes."  # the names of a UNet++'s weights begin with it, those of no other network
NUMBERED = re.compile(r"encoder\.stages\.(\d+)\.|decoder\.nodes\.(\d+)_(\d+)\.|decoder\.seg_layers\.(\d+)\.")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TrainedUNetPlusPlus:
    """A trained UNet++ in its model folder.

    Attributes:
        folder: model folder, with plans.json, dataset.json and a folder for each fold.
        checkpoint: file name of the checkpoint in each fold's folder.
        folds: the folds in use, as nnU-Net names them: 0, 1, …, all.
        configuration: configuration of the plans that was trained.
        trainer: name of the trainer class.
        plans: content of plans.json.
        dataset: content of dataset.json.
    """

    folder: Path
    checkpoint: str
    folds: tuple[str, ...]
    configuration: str
    trainer: str
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]

    @property
    def architecture(self) -> Architecture:
        """The UNet++, also where the plans name the plain U-Net that it was trained in place of."""
        configuration = PlansManager(copy.deepcopy(self.plans)).get_configuration(self.configuration)
        return Architecture.of(configuration).nested()

    @property
    def deepest(self) -> int:
        """Depth of the whole network."""
        return int(self.architecture.kwargs["n_stages"]) - 1

    def pruned(self, depth: int) -> Architecture:
        """Describe the network of the branch of this depth.

        Raises:
            UsageError: there is no such branch, or it was never trained.
        """
        whole = self.architecture
        try:
            kwargs = pruned_arch_kwargs(whole.kwargs, depth)
        except ValueError as error:
            raise UsageError(f"{self.folder}: {error}") from error
        return Architecture(whole.network_class, kwargs, whole.requires_import)

    def plans_with(self, architecture: Architecture) -> dict[str, Any]:
        """Copy the plans, with another network in the model's configuration."""
        plans: dict[str, Any] = copy.deepcopy(dict(self.plans))
        plans["configurations"][self.configuration]["architecture"] = architecture.in_plans()
        return plans

    def checkpoint_path(self, fold: str) -> Path:
        """Path of the fold's checkpoint."""
        return self.folder / fold_name(fold) / self.checkpoint

    def read_fold(self, fold: str) -> dict[str, Any]:
        """Read the fold's checkpoint; its tensors stay on disk until they are used.

        Raises:
            NnunetExtError: the checkpoint is damaged.
            UsageError: the checkpoint holds another network than a UNet++.
        """
        content = read_checkpoint(self.checkpoint_path(fold), mapped=True)
        if not any(name.startswith(NESTED) for name in content["network_weights"]):
            raise UsageError(
                f"{self.checkpoint_path(fold)} holds no UNet++ but another network, of trainer "
                f"{content.get('trainer_name')}: there is nothing to prune."
            )
        return content


def find_unet_plus_plus(
    folder: Path, folds: Iterable[str] = (), checkpoint: str = FINAL_CHECKPOINT
) -> TrainedUNetPlusPlus:
    """Find the trained UNet++ of a model folder.

    Args:
        folder: model folder, as `nnUNet_results/Dataset004_Hippocampus/TRAINER__PLANS__CONFIGURATION`.
        folds: folds to use; all that have the checkpoint unless given.
        checkpoint: file name of the checkpoint in each fold's folder.

    Raises:
        DatasetError: the folder is no model folder.
        UsageError: a fold that is asked for has no such checkpoint, or no fold has one.
    """
    try:
        plans, dataset = read_plans_content(folder / PLANS_FILE), read_dataset_json(folder / DATASET_FILE)
    except DatasetError as error:
        raise DatasetError(
            f"{error} Name a trained model's folder, which holds {PLANS_FILE}, {DATASET_FILE} and a folder "
            "for each fold."
        ) from error
    of_folds = find_fold_folders(folder).items()
    there = [fold for fold, path in of_folds if (path / checkpoint).is_file()]
    asked = tuple(dict.fromkeys(folds)) or tuple(there)
    missing = [fold for fold in asked if fold not in there]
    if missing or not asked:
        what = f"fold {', '.join(missing)}" if missing else "any fold"
        raise UsageError(
            f"{folder} has no {checkpoint} of {what}; it has that of {', '.join(there) or 'none'}. "
            "Choose folds with -f, another checkpoint with -chk."
        )
    path = folder / fold_name(asked[0]) / checkpoint
    content = read_checkpoint(path, mapped=True)
    try:
        configuration, trainer = str(content["init_args"]["configuration"]), str(content["trainer_name"])
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no checkpoint of nnU-Net: it has no {error}.") from error
    return TrainedUNetPlusPlus(
        folder=folder,
        checkpoint=checkpoint,
        folds=asked,
        configuration=configuration,
        trainer=trainer,
        plans=plans,
        dataset=dataset,
    )


def pruned_arch_kwargs(arch_kwargs: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Make the plans' `arch_kwargs` of the branch of this depth; those given are left as they are.

    Raises:
        ValueError: there is no such branch, or the supervision is "pyramid", which trains one branch only.
    """
    if arch_kwargs.get("supervision", "nested") != "nested":
        raise ValueError(
            f"A network with {arch_kwargs['supervision']} supervision cannot be pruned: its shallower "
            'branches were never trained. Train one with "supervision": "nested" in its plan.'
        )
    _check_depth(depth, arch_kwargs["n_stages"] - 1)
    return first_stages(arch_kwargs, depth + 1)


def pruned_state_dict(state_dict: Mapping[str, T], depth: int) -> dict[str, T]:
    """Select the weights that the branch of this depth needs, the heads of shallower branches included.

    Raises:
        ValueError: there is no such branch.
    """
    matches = [NUMBERED.match(name) for name in state_dict]
    deepest = max((int(match[4]) for match in matches if match and match[4]), default=0)
    _check_depth(depth, deepest)
    return {
        name: weight
        for (name, weight), match in zip(state_dict.items(), matches, strict=True)
        # The stem of a residual encoder has no number.
        if match is None or sum(int(number) for number in match.groups() if number) <= depth
    }


def _check_depth(depth: int, deepest: int) -> None:
    if not 1 <= depth <= deepest:
        raise ValueError(f"depth is {depth}: this network has branches of depth 1 to {deepest}.")
