"""What a configuration takes of a graphics card's memory, as nnU-Net's planner counts; needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
