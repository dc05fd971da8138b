"""The trainer of UNet++ with nested deep supervision, and the choice of a branch for prediction."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_ext.errors import SettingsError
from nnunet_ext.networks.architecture import Architecture
from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt
from nnunet_ext.trainers.settings.variables import DEPTH_VARIABLE, MODE_VARIABLE
from nnunet_ext.trainers.trainer import refusals_end_the_program


class NestedSupervision(torch.nn.Module):
    """Mean loss of all heads against the one full-resolution target, with equal weights as in the paper.

    Source: Zhou et al., TMI 2020, section III-B.
    """

    def __init__(self, loss: torch.nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: list[torch.Tensor], targets: list[torch.Tensor]) -> torch.Tensor:
        """Compute the mean loss of the outputs `(B, C, …)` against the first target, at full resolution."""
        return torch.stack([self.loss(output, targets[0]) for output in outputs]).mean()


class nnUNetTrainerUNetPlusPlus(nnUNetTrainerExt):
    """nnUNetTrainerExt for UNet++, with nested deep supervision.

    The settings are those of nnUNetTrainerExt. The network is the UNet++ of the plans, or one with the stages
    and encoder of the plans' U-Net. In prediction the variable `nnUNet_unetpp_depth` chooses the branch of
    depth 1 to the number of stages less one, and `nnUNet_unetpp_mode=mean` the mean of the logits of the
    branches up to that depth.

    Source: Zhou et al., UNet++: redesigning skip connections to exploit multiscale features in image
    segmentation, TMI 2020.
    """

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> Any:
        """Make the network; for prediction nnU-Net asks for one without deep supervision."""
        with refusals_end_the_program():
            architecture = Architecture.of(configuration_manager).nested()
        network = get_network_from_plans(
            architecture.network_class,
            architecture.kwargs,
            architecture.requires_import,
            num_input_channels,
            num_output_channels,
            allow_init=True,
            deep_supervision=enable_deep_supervision,
        )
        if not enable_deep_supervision:
            with refusals_end_the_program():
                choose_branch(network.decoder)
        return network

    def on_train_start(self) -> None:
        """Start the training, and log that the plans were made for another network if they were."""
        super().on_train_start()
        planned = Architecture.of(self.configuration_manager)
        if not planned.is_nested:
            self.print_to_log_file(
                f"These plans were made for {planned.plain_name}; in training a UNet++ of the same stages "
                "holds 2 to 5 times its memory. nnunet_ext plan makes plans for it, with their own patch "
                "and batch size."
            )

    def _get_deep_supervision_scales(self) -> Any:
        if self._is_nested():
            # One target is enough for all heads; nnU-Net would make a copy for each.
            return [[1.0] * len(self.configuration_manager.patch_size)]
        return super()._get_deep_supervision_scales()

    def _build_loss(self) -> torch.nn.Module:
        if not self._is_nested():
            return super()._build_loss()
        self.enable_deep_supervision = False  # so that nnU-Net does not wrap the loss in its own weights
        try:
            return NestedSupervision(super()._build_loss())
        finally:
            self.enable_deep_supervision = True

    def _is_nested(self) -> bool:
        architecture = Architecture.of(self.configuration_manager)
        return bool(self.enable_deep_supervision) and architecture.supervision == "nested"


def choose_branch(decoder: Any, environment: Mapping[str, str] = os.environ) -> None:
    """Make a network predict with the branch that the environment variables name, if they name one.

    Raises:
        SettingsError: the network has no such branch.
    """
    for variable, name, convert in ((DEPTH_VARIABLE, "depth", int), (MODE_VARIABLE, "mode", str)):
        if variable not in environment:
            continue
        try:
            setattr(decoder, name, convert(environment[variable].strip()))
        except ValueError as error:
            raise SettingsError(f"{variable} is {environment[variable]!r}: {error}") from error
