"""A planned network made shallower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BOTTLENECK_KERNEL = 3  # of each axis, whatever the spacing: nnU-Net's rule
OF_EACH_STAGE = ("features_per_stage", "strides", "kernel_sizes", "n_conv_per_stage", "n_blocks_per_stage")


def capped(arch_kwargs: Mapping[str, Any], max_stages: int) -> dict[str, Any]:
    """The arguments of a network of `max_stages` stages, those of lowest resolution left out.

    Args:
        arch_kwargs: as nnU-Net plans them for `PlainConvUNet` or `ResidualEncoderUNet`.
        max_stages: a network of so many stages or fewer is left as it is.
    """
    n_stages = min(arch_kwargs["n_stages"], max_stages)
    if n_stages == arch_kwargs["n_stages"]:
        return dict(arch_kwargs)
    shortened = {name: tuple(arch_kwargs[name][:n_stages]) for name in OF_EACH_STAGE if name in arch_kwargs}
    kernels = shortened["kernel_sizes"]
    shortened["kernel_sizes"] = (*kernels[:-1], (BOTTLENECK_KERNEL,) * len(kernels[-1]))
    # Its entries are from the lowest resolution upwards, one less than there are stages.
    decoder = tuple(arch_kwargs["n_conv_per_stage_decoder"][-(n_stages - 1) :])
    return {**arch_kwargs, **shortened, "n_stages": n_stages, "n_conv_per_stage_decoder": decoder}
