"""Architectures as nnU-Net's plans describe them, and the UNet++ in place of each. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_ext.errors import SettingsError

# Plans and checkpoints hold these dotted names, so they must not change.
UNET_PLUS_PLUS = "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus"
RESIDUAL_UNET_PLUS_PLUS = "nnunet_ext.networks.unet_plus_plus.ResidualEncoderUNetPlusPlus"
NESTED_FOR = {
    "dynamic_network_architectures.architectures.unet.PlainConvUNet": UNET_PLUS_PLUS,
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet": RESIDUAL_UNET_PLUS_PLUS,
}

# Arguments of a network that have an entry for each stage, where they are lists.
PER_STAGE = (
    "features_per_stage",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage",
    "n_blocks_per_stage",
    "bottleneck_channels",
)
# One entry less than there are stages, from the lowest resolution upwards.
PER_DECODER_STAGE = "n_conv_per_stage_decoder"


@dataclass(frozen=True)
class Architecture:
    """A network as the plans describe it.

    Attributes:
        network_class: dotted name of the network's class.
        kwargs: arguments of the network except its input channels and classes.
        requires_import: keys of `kwargs` whose values are dotted names of classes.
    """

    network_class: str
    kwargs: Mapping[str, Any]
    requires_import: tuple[str, ...]

    @classmethod
    def of(cls, configuration_manager: Any) -> Architecture:
        """Read the architecture from nnU-Net's `ConfigurationManager`."""
        return cls(
            configuration_manager.network_arch_class_name,
            configuration_manager.network_arch_init_kwargs,
            tuple(configuration_manager.network_arch_init_kwargs_req_import),
        )

    @property
    def is_nested(self) -> bool:
        """Whether the network is a UNet++."""
        return self.network_class in NESTED_FOR.values()

    @property
    def supervision(self) -> str:
        """Form of the deep supervision of the UNet++: "nested" or "pyramid"."""
        return str(self.kwargs.get("supervision", "nested"))

    @property
    def plain_name(self) -> str:
        """Name of the network's class without its module."""
        return self.network_class.rpartition(".")[2]

    def nested(self) -> Architecture:
        """Describe the UNet++ with the same stages and encoder.

        Raises:
            SettingsError: there is no UNet++ with this network's encoder.
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
        """The entry `architecture` of a configuration of the plans."""
        return {
            "network_class_name": self.network_class,
            "arch_kwargs": dict(self.kwargs),
            "_kw_requires_import": list(self.requires_import),
        }


def first_stages(arch_kwargs: Mapping[str, Any], n_stages: int) -> dict[str, Any]:
    """Make the arguments of a network that has only the `n_stages` stages of highest resolution.

    Args:
        arch_kwargs: arguments as nnU-Net plans them for `PlainConvUNet` or `ResidualEncoderUNet`; they are
            left as they are.
        n_stages: from 2 to the number of stages that the network has.
    """
    shallower = {**arch_kwargs, "n_stages": n_stages}
    for name in PER_STAGE:
        if isinstance(shallower.get(name), list | tuple):
            shallower[name] = shallower[name][:n_stages]
    if not isinstance(shallower[PER_DECODER_STAGE], int):
        shallower[PER_DECODER_STAGE] = shallower[PER_DECODER_STAGE][-(n_stages - 1) :]
    return shallower
