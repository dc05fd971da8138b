"""What a network is and what it costs, without computing anything."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def describe_network(network: torch.nn.Module, n_channels: int, patch_size: Sequence[int]) -> dict[str, Any]:
    """Class, parameters and FLOPs of a network.

    Args:
        network: as it is, neither compiled nor wrapped.
        n_channels: of its input.
        patch_size: of its input, in voxels.

    Returns:
        `flops_of_one_patch` are those of one forward pass, a multiplication and an addition counting
        as two; None where they cannot be counted, with the reason as `flops_fault`.
    """
    parameters = list(network.parameters())
    flops, fault = count_flops(network, (1, n_channels, *patch_size))
    return {
        "class": f"{type(network).__module__}.{type(network).__qualname__}",
        "parameters": sum(one.numel() for one in parameters),
        "trained_parameters": sum(one.numel() for one in parameters if one.requires_grad),
        "input_channels": n_channels,
        "patch_size": [int(size) for size in patch_size],
        "flops_of_one_patch": flops,
        **({"flops_fault": fault} if fault else {}),
    }


def count_flops(network: torch.nn.Module, shape: Sequence[int]) -> tuple[int | None, str | None]:
    """FLOPs of a forward pass on an input of this shape, or None and why they cannot be counted.

    Neither memory nor time is spent: the copy of the network that is asked holds no values.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), FlopCounterMode(display=False) as counter:
            _without_values(network)(torch.empty(tuple(shape), device="meta"))
    except Exception as error:  # a network may do anything, and none must fail for being counted
        return None, f"{type(error).__name__}: {error}"
    return int(counter.get_total_flops()), None


def _without_values(network: torch.nn.Module) -> torch.nn.Module:
    """A copy on the meta device.

    `functional_call` would need no copy, but leaves weights that have several names, as nnU-Net's
    have, without values in the network itself.
    """
    twins: dict[int, Any] = {
        id(one): torch.nn.Parameter(one.detach().to("meta"), one.requires_grad)
        for one in network.parameters()
    }
    twins |= {id(one): one.detach().to("meta") for one in network.buffers()}
    return copy.deepcopy(network, twins)
