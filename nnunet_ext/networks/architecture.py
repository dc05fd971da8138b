"""Architectures of networks as plans describe them, and the UNet++ in place of each; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_ext.errors import SettingsError

# Importable names: plans and checkpoints hold them, so that they must stay.
UNET_PLUS_PLUS = "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus"
RESIDUAL_UNET_PLUS_PLUS = "nnunet_ext.networks.unet_plus_plus.ResidualEncoderUNetPlusPlus"
NESTED_FOR = {
    "dynamic_network_architectures.architectures.unet.PlainConvUNet": UNET_PLUS_PLUS,
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet": RESIDUAL_UNET_PLUS_PLUS,
}


@dataclass(frozen=True)
class Architecture:
    """A network as plans describe it.

    Attributes:
        network_class: its dotted name.
        kwargs: what it is made with, beside channels and classes.
        requires_import: the keys of `kwargs` that are dotted names themselves.
    """

    network_class: str
    kwargs: Mapping[str, Any]
    requires_import: tuple[str, ...]

    @property
    def is_nested(self) -> bool:
        """Whether it is a UNet++ already."""
        return self.network_class in NESTED_FOR.values()

    @property
    def supervision(self) -> str:
        """Where the heads of the UNet++ are."""
        return str(self.kwargs.get("supervision", "nested"))

    @property
    def plain_name(self) -> str:
        """The class without its module."""
        return self.network_class.rpartition(".")[2]

    def nested(self) -> Architecture:
        """The UNet++ with the same stages and encoder.

        Raises:
            SettingsError: it has another encoder than ours.
        """
        if self.is_nested:
            return self
        if self.network_class not in NESTED_FOR:
            known = ", ".join(name.rpartition(".")[2] for name in NESTED_FOR)
            raise SettingsError(
                f"The plans name the network {self.network_class}: a UNet++ can take the place of {known}. "
                "Make plans with nnunet_ext plan."
            )
        return Architecture(NESTED_FOR[self.network_class], self.kwargs, self.requires_import)

    def in_plans(self) -> dict[str, Any]:
        """As plans have it under `architecture`."""
        return {
            "network_class_name": self.network_class,
            "arch_kwargs": dict(self.kwargs),
            "_kw_requires_import": list(self.requires_import),
        }


# Lists of these have an entry for each stage.
OF_STAGES = (
    "features_per_stage",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage",
    "n_blocks_per_stage",
    "bottleneck_channels",
)
OF_LEVELS = "n_conv_per_stage_decoder"  # from the lowest resolution upwards, one less than there are stages


def first_stages(arch_kwargs: Mapping[str, Any], n_stages: int) -> dict[str, Any]:
    """The arguments of a network of the `n_stages` stages of highest resolution, two at least.

    Args:
        arch_kwargs: as nnU-Net plans them for `PlainConvUNet` or `ResidualEncoderUNet`; left as they are.
        n_stages: not more than it has.
    """
    shallower = {**arch_kwargs, "n_stages": n_stages}
    for name in OF_STAGES:
        if isinstance(shallower.get(name), list | tuple):
            shallower[name] = shallower[name][:n_stages]
    if not isinstance(shallower[OF_LEVELS], int):
        shallower[OF_LEVELS] = shallower[OF_LEVELS][-(n_stages - 1) :]
    return shallower
