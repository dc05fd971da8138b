"""A planned network made shallower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_ext.networks.arch_kwargs import first_stages

BOTTLENECK_KERNEL = 3  # of each axis, whatever the spacing: nnU-Net's rule


def capped(arch_kwargs: Mapping[str, Any], max_stages: int) -> dict[str, Any]:
    """The arguments of a network of `max_stages` stages, those of lowest resolution left out.

    Args:
        arch_kwargs: as nnU-Net plans them for `PlainConvUNet` or `ResidualEncoderUNet`.
        max_stages: a network of so many stages or fewer is left as it is.
    """
    if arch_kwargs["n_stages"] <= max_stages:
        return dict(arch_kwargs)
    shallower = first_stages(arch_kwargs, max_stages)
    *kernels, deepest = shallower["kernel_sizes"]
    return {**shallower, "kernel_sizes": (*kernels, (BOTTLENECK_KERNEL,) * len(deepest))}
