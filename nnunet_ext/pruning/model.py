"""A trained model's folder, as nnU-Net leaves it and predicts with it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.labels import read_dataset_json
from nnunet_ext.networks.checkpoint_file import read_checkpoint
from nnunet_ext.networks.plans import Architecture
from nnunet_ext.networks.pruning import pruned_arch_kwargs
from nnunet_ext.trained import read_plans

FINAL = "checkpoint_final.pth"
PLANS, DATASET = "plans.json", "dataset.json"
FOLD = "fold_"
NESTED = "decoder.nodes."  # what the weights of a UNet++ have, and no other network's


@dataclass(frozen=True)
class Model:
    """A trained UNet++.

    Attributes:
        folder: with plans, dataset.json and a folder for each fold.
        checkpoint: name of the file in each fold's folder.
        folds: which of them, as nnU-Net names them: 0, 1, …, all.
        configuration: of its plans.
        trainer: name of the trainer.
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
        return Architecture(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            tuple(configuration.network_arch_init_kwargs_req_import),
        ).nested()

    @property
    def deepest(self) -> int:
        """Depth of the whole network."""
        return int(self.architecture.kwargs["n_stages"]) - 1

    def pruned(self, depth: int) -> Architecture:
        """The network of the branch of this depth.

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
        """The plans, but with this network in the model's configuration."""
        plans: dict[str, Any] = copy.deepcopy(dict(self.plans))
        plans["configurations"][self.configuration]["architecture"] = architecture.in_plans()
        return plans

    def path(self, fold: str) -> Path:
        """The fold's checkpoint."""
        return self.folder / f"{FOLD}{fold}" / self.checkpoint

    def read(self, fold: str) -> dict[str, Any]:
        """The fold's checkpoint; its tensors stay on disk until they are used.

        Raises:
            NnunetExtError: it is damaged.
            UsageError: it holds no UNet++.
        """
        content = read_checkpoint(self.path(fold), mapped=True)
        if not any(name.startswith(NESTED) for name in content["network_weights"]):
            raise UsageError(
                f"{self.path(fold)} holds no UNet++ but another network, of trainer "
                f"{content.get('trainer_name')}: there is nothing to prune."
            )
        return content


def find_model(folder: Path, folds: Iterable[str] = (), checkpoint: str = FINAL) -> Model:
    """Find what a model's folder holds.

    Args:
        folder: as `nnUNet_results/Dataset004_Hippocampus/TRAINER__PLANS__CONFIGURATION`.
        folds: which ones; all that have the checkpoint unless given.
        checkpoint: name of the file in each fold's folder.

    Raises:
        DatasetError: it is no such folder.
        UsageError: a fold has no such checkpoint, or none has.
    """
    try:
        plans, dataset = read_plans(folder / PLANS), read_dataset_json(folder / DATASET)
    except DatasetError as error:
        raise DatasetError(
            f"{error} Name a trained model's folder, which holds {PLANS}, {DATASET} and a folder for each "
            "fold."
        ) from error
    there = sorted(
        path.parent.name.removeprefix(FOLD) for path in folder.glob(f"{FOLD}*/{checkpoint}") if path.is_file()
    )
    asked = tuple(dict.fromkeys(folds)) or tuple(there)
    missing = [fold for fold in asked if fold not in there]
    if missing or not asked:
        what = f"fold {', '.join(missing)}" if missing else "any fold"
        raise UsageError(
            f"{folder} has no {checkpoint} of {what}; it has that of {', '.join(there) or 'none'}. "
            "Choose folds with -f, another checkpoint with -chk."
        )
    first = read_checkpoint(folder / f"{FOLD}{asked[0]}" / checkpoint, mapped=True)
    try:
        configuration, trainer = str(first["init_args"]["configuration"]), str(first["trainer_name"])
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"{folder / f'{FOLD}{asked[0]}' / checkpoint} is no checkpoint of nnU-Net: it has no {error}."
        ) from error
    return Model(folder, checkpoint, asked, configuration, trainer, plans, dataset)
