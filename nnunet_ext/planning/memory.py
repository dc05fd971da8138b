"""Estimates of the GPU memory that a training needs, in the unit of nnU-Net's planner.

The unit is one output value of a convolution. The backward pass keeps two values for it, the input of the
norm and the activation: 4 bytes in half precision. nnU-Net's references (560e6 units for 8 GB, …) are in
this unit; they hold for a network whose decoder nodes read two inputs each and whose losses are dominated by
one full-resolution head. `concatenation_units` and `heads_units` count what a UNet++ keeps beyond that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Shape = Sequence[int]

REFERENCE_GB = 8.0
REFERENCES = {2: (85_000_000, 12), 3: (560_000_000, 2)}  # by number of axes: units and batch size of 8 GB

# Share of the estimated memory that torch really reserves; nnU-Net's plans leave the rest free. Measured
# with 128^3, batch 2 and 6 stages on an H200: 0.76 compiled, 0.72 not.
RESERVED_SHARE = 0.75
BYTES_OF_UNIT = 4
# For each label and voxel of a head the backward pass keeps the logit (2 bytes) and, because Dice and
# cross-entropy are computed in single precision, the softmax, its product with the one-hot target and its
# logarithm (4 bytes each).
BYTES_OF_LOGIT = 14


def concatenation_units(patch_size: Shape, strides: Sequence[Shape], features: Sequence[int]) -> int:
    """Count the units of the nested nodes' concatenations beyond those of a U-Net.

    Node X(i, j) of n convolutions keeps 2n + j + 1 feature maps of level i: two for each convolution, and
    the concatenation of j + 1 maps that the first convolution reads. Its n convolutions and its transposed
    convolution count as n + 1 units, that is 2n + 2 maps, which is right for the two inputs of a U-Net's
    node. The difference is (j - 1) / 2 units a node, and m(m - 1) / 4 units for the m = N - 1 - i nodes of
    level i.

    Args:
        patch_size: voxels of the patch, divisible by the strides.
        strides: strides of each of the N stages, those of the first all ones.
        features: channels of each stage.
    """
    quarters = 0
    shape = [int(size) for size in patch_size]
    for i, (stride, n_features) in enumerate(zip(strides, features, strict=True)):
        shape = [size // int(step) for size, step in zip(shape, stride, strict=True)]
        n_nodes = len(strides) - 1 - i
        quarters += n_features * math.prod(shape) * n_nodes * (n_nodes - 1)
    return quarters // 4


def heads_units(patch_size: Shape, n_stages: int, n_labels: int) -> int:
    """Count the units of the N - 2 full-resolution outputs, with their losses, that a U-Net does not have.

    Args:
        patch_size: voxels of the patch.
        n_stages: N.
        n_labels: channels of an output.
    """
    n_logits = (n_stages - 2) * n_labels * math.prod(int(size) for size in patch_size)
    return n_logits * BYTES_OF_LOGIT // BYTES_OF_UNIT


def estimate_gb(configuration: Mapping[str, Any], n_channels: int, n_labels: int) -> float | None:
    """Estimate the memory of a training in GB, as nnU-Net's planner does.

    Args:
        configuration: configuration of the plans, with all that it inherits.
        n_channels: channels of the images.
        n_labels: number of labels, background included.

    Returns:
        The estimate; None for a network that does not tell the size of its feature maps.

    Source: nnU-Net's `ExperimentPlanner.static_estimate_VRAM_usage` and its reference values.
    """
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = configuration["architecture"]
    with torch.device("meta"):
        network = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            n_channels,
            n_labels,
            allow_init=False,
        )
    if not hasattr(network, "compute_conv_feature_map_size"):
        return None
    size = network.compute_conv_feature_map_size(configuration["patch_size"])
    reference, batch_size = REFERENCES[len(configuration["patch_size"])]
    return float(REFERENCE_GB * size * configuration["batch_size"] / batch_size / reference)
