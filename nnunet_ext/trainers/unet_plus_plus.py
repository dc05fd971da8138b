"""The trainer of UNet++, whose heads all see the target in full resolution."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_ext.errors import SettingsError
from nnunet_ext.networks.architecture import Architecture
from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt
from nnunet_ext.trainers.settings.resolution import DEPTH_VARIABLE, MODE_VARIABLE
from nnunet_ext.trainers.trainer import refusals_end_the_program


class NestedSupervision(torch.nn.Module):
    """The mean loss of all heads against one target: the paper weighs them alike.

    Source: Zhou et al., TMI 2020, section III-B.
    """

    def __init__(self, loss: torch.nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: list[torch.Tensor], targets: list[torch.Tensor]) -> torch.Tensor:
        """Mean over the outputs `(B, C, …)`; of the targets the first, in full resolution, is read."""
        return torch.stack([self.loss(output, targets[0]) for output in outputs]).mean()


class nnUNetTrainerUNetPlusPlus(nnUNetTrainerExt):
    """nnUNetTrainerExt on a UNet++, with nested deep supervision.

    The network is that of the plans, or the UNet++ with the stages and the encoder that they name. For
    prediction `nnUNet_unetpp_depth` chooses a shallower branch, and `nnUNet_unetpp_mode=mean` the mean of
    its logits and those of the branches above.
    """

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> Any:
        """Make the network; nnU-Net asks for it without deep supervision to predict."""
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
        """Begin, and say where the plans were made for another network."""
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
            # One target, not as many copies of it as there are heads.
            return [[1.0] * len(self.configuration_manager.patch_size)]
        return super()._get_deep_supervision_scales()

    def _build_loss(self) -> torch.nn.Module:
        if not self._is_nested():
            return super()._build_loss()
        self.enable_deep_supervision = False  # nnU-Net's weights of the outputs are of no use here
        try:
            return NestedSupervision(super()._build_loss())
        finally:
            self.enable_deep_supervision = True

    def _is_nested(self) -> bool:
        architecture = Architecture.of(self.configuration_manager)
        return bool(self.enable_deep_supervision) and architecture.supervision == "nested"


def choose_branch(decoder: Any, environment: Mapping[str, str] = os.environ) -> None:
    """Let a network predict by the branch that the variables name, if they name one.

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
