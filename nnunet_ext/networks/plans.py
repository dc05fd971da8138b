"""What a plan says of its network, as it stands or for the UNet++ in its place. Nothing here needs torch."""

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
