"""GPU memory that a configuration needs, as nnU-Net's planner estimates it.

That unit is one value that a convolution puts out. Backward keeps two for it, the norm's input and the
activation: 4 bytes in half precision. nnU-Net's references (560e6 units for 8 GB, …) are in this unit,
and hold for a network in which each node reads two inputs and one head is in full resolution. Counted
here is what a UNet++ keeps beyond that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Shape = Sequence[int]
# What torch reserves of a GPU's memory, of what nnU-Net's scale says: nnU-Net's plans leave the rest free,
# and so do these. Measured with 128^3, batch 2 and 6 stages on an H200: 0.76 compiled, 0.72 not.
RESERVED_SHARE = 0.75
BYTES_OF_UNIT = 4
# Of a head's output backward keeps for each label and voxel the logits (2 bytes) and, of Dice and
# cross-entropy, which are computed in single precision, the softmax, its product with the one-hot
# target, and the logarithm of the softmax (4 bytes each).
BYTES_OF_LOGIT = 14


def concatenation_units(patch_size: Shape, strides: Sequence[Shape], features: Sequence[int]) -> int:
    """Units of the nested nodes' concatenations beyond those of a U-Net.

    Node X(i, j) of n convolutions keeps 2n + j + 1 maps of its level: two of each convolution, and the
    concatenation of j + 1 that the first one reads. Its n convolutions and the transposed one count as
    n + 1 units, which is 2n + 2 maps and right for the two inputs of a U-Net's node. That leaves
    (j - 1) / 2 units a node, and m(m - 1) / 4 for the m = N - 1 - i nodes of level i.

    Args:
        patch_size: voxels of the patch, divisible by the strides.
        strides: of each of the N stages, the first all ones.
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
    """Units of the N - 2 further outputs in full resolution and their losses, one head being a U-Net's.

    Args:
        patch_size: voxels of the patch.
        n_stages: N.
        n_labels: channels of an output.
    """
    n_logits = (n_stages - 2) * n_labels * math.prod(int(size) for size in patch_size)
    return n_logits * BYTES_OF_LOGIT // BYTES_OF_UNIT


REFERENCE_GB = 8.0
REFERENCES = {2: (85_000_000, 12), 3: (560_000_000, 2)}  # feature map and batch size that take so much


def estimate_gb(configuration: Mapping[str, Any], n_channels: int, n_labels: int) -> float | None:
    """Memory of a training in GB; None for networks that do not tell the size of their feature maps.

    Args:
        configuration: resolved.
        n_channels: of the images.
        n_labels: background included.

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
