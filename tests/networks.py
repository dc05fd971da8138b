"""UNet++ and its peers, as plans describe them."""

from __future__ import annotations

from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

NAMES = {
    "UNetPlusPlus": "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus",
    "ResidualEncoderUNetPlusPlus": "nnunet_ext.networks.unet_plus_plus.ResidualEncoderUNetPlusPlus",
    "PlainConvUNet": f"{PlainConvUNet.__module__}.PlainConvUNet",
    "ResidualEncoderUNet": f"{ResidualEncoderUNet.__module__}.ResidualEncoderUNet",
}
REQUIRE_IMPORT = ["conv_op", "norm_op", "dropout_op", "nonlin"]
# Axes, levels and columns all differ: one taken for another shows.
UNEVEN = {
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 1, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 1, 2]],
    "n_conv_per_stage_decoder": [1, 2, 3],
}
UNEVEN_FEATURES = (3, 5, 6, 7)
UNEVEN_SHAPE = (8, 12, 16)


def arch_kwargs(features: tuple[int, ...], dims: int = 3, **changes: Any) -> dict[str, Any]:
    """What a plan of nnU-Net says of a network with stages of these features: JSON and nothing else."""
    n_stages = len(features)
    return {
        "n_stages": n_stages,
        "features_per_stage": list(features),
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": [[3] * dims] * n_stages,
        "strides": [[1] * dims, *[[2] * dims] * (n_stages - 1)],
        "n_conv_per_stage": [2] * n_stages,
        "n_conv_per_stage_decoder": [2] * (n_stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    } | changes


def residual(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The same for a residual encoder."""
    kept = {key: value for key, value in kwargs.items() if key != "n_conv_per_stage"}
    return kept | {"n_blocks_per_stage": kwargs["n_conv_per_stage"]}


def build(
    kwargs: dict[str, Any],
    name: str = "UNetPlusPlus",
    channels: tuple[int, int] = (1, 2),
    deep_supervision: bool | None = None,
) -> nn.Module:
    """A network, built and given weights as nnU-Net does; `channels` are those of input and output."""
    torch.manual_seed(0)
    return get_network_from_plans(
        NAMES[name], kwargs, REQUIRE_IMPORT, *channels, deep_supervision=deep_supervision
    )


def on_meta(*args: Any, **kwargs: Any) -> nn.Module:
    """The same without weights: any size, at once."""
    with torch.device("meta"):
        return build(*args, **kwargs)


def with_random_parameters(network: nn.Module, seed: int = 3) -> nn.Module:
    """All parameters drawn: a norm's ones and zeros, and a bias of 0, would hide a mistake."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)
    return network


def uneven_kwargs(name: str = "UNetPlusPlus", **changes: Any) -> dict[str, Any]:
    """What a plan says of the following."""
    kwargs = arch_kwargs(UNEVEN_FEATURES, **UNEVEN, **changes)
    return residual(kwargs) if name.startswith("Residual") else kwargs


def uneven(name: str = "UNetPlusPlus", deep_supervision: bool = True, **changes: Any) -> nn.Module:
    """A network of 4 small stages, 2 input channels and 3 classes, no two axes or levels of it alike."""
    kwargs = uneven_kwargs(name, **changes)
    return with_random_parameters(build(kwargs, name, (2, 3), deep_supervision))


def scan(batch: int = 1, shape: tuple[int, ...] = UNEVEN_SHAPE) -> torch.Tensor:
    """Input of `uneven`."""
    return torch.randn((batch, 2, *shape), generator=torch.Generator().manual_seed(5))
