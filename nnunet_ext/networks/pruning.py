"""A UNet++ cut down to one of its branches, as a network of its own.

The branch X(0, d) of a UNet++ needs its stages 0 to d and its nodes X(i, j) with i + j <= d: a UNet++ of
d + 1 stages with the same names. So an export needs no class: nnU-Net builds it from the plan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from nnunet_ext.networks.arch_kwargs import first_stages

T = TypeVar("T")

NUMBERED = re.compile(r"encoder\.stages\.(\d+)\.|decoder\.nodes\.(\d+)_(\d+)\.|decoder\.seg_layers\.(\d+)\.")


def pruned_arch_kwargs(arch_kwargs: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """A plan's `arch_kwargs` for the branch of this depth; the plan's own are left as they are.

    Raises:
        ValueError: there is no such branch, or the plan's supervision is "pyramid", which trains none.
    """
    if arch_kwargs.get("supervision", "nested") != "nested":
        raise ValueError(
            f"A network with {arch_kwargs['supervision']} supervision cannot be pruned: its shallower "
            'branches were never trained. Train one with "supervision": "nested" in its plan.'
        )
    _check_depth(depth, arch_kwargs["n_stages"] - 1)
    return first_stages(arch_kwargs, depth + 1)


def pruned_state_dict(state_dict: Mapping[str, T], depth: int) -> dict[str, T]:
    """The weights of a UNet++ that its branch of this depth needs, heads of shallower ones included.

    Raises:
        ValueError: there is no such branch in them.
    """
    matches = [NUMBERED.match(name) for name in state_dict]
    deepest = max((int(match[4]) for match in matches if match and match[4]), default=0)
    _check_depth(depth, deepest)
    return {
        name: weight
        for (name, weight), match in zip(state_dict.items(), matches, strict=True)
        # The stem of a residual encoder has no number.
        if match is None or sum(int(number) for number in match.groups() if number) <= depth
    }


def _check_depth(depth: int, deepest: int) -> None:
    if not 1 <= depth <= deepest:
        raise ValueError(f"depth is {depth}: this network has branches of depth 1 to {deepest}.")
