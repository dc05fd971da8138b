"""What a plan tells of a network, for a network of fewer stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
