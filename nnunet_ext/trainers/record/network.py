"""Description of a network: class, parameters, and FLOPs counted without computing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def describe_network(network: torch.nn.Module, n_channels: int, patch_size: Sequence[int]) -> dict[str, Any]:
    """Describe a network.

    Args:
        network: the network, neither compiled nor wrapped.
        n_channels: number of input channels.
        patch_size: voxels of the input.

    Returns:
        Plain values. `flops_of_one_patch` are those of one forward pass, with a multiplication and an
        addition counted as two; None if they cannot be counted, with the reason as `flops_fault`.
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
    """Count the FLOPs of a forward pass on an input of this shape; or None, and why they cannot be counted.

    The count is made on a copy of the network without values, so it takes neither memory nor much time.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), FlopCounterMode(display=False) as counter:
            _without_values(network)(torch.empty(tuple(shape), device="meta"))
    except Exception as error:  # a network may raise anything, which must not end the training
        return None, f"{type(error).__name__}: {error}"
    return int(counter.get_total_flops()), None


def _without_values(network: torch.nn.Module) -> torch.nn.Module:
    """Copy a network to the meta device.

    `functional_call` would need no copy, but removes the values of weights with several names, as nnU-Net's
    have, from the network itself.
    """
    twins: dict[int, Any] = {
        id(one): torch.nn.Parameter(one.detach().to("meta"), one.requires_grad)
        for one in network.parameters()
    }
    twins |= {id(one): one.detach().to("meta") for one in network.buffers()}
    return copy.deepcopy(network, twins)
