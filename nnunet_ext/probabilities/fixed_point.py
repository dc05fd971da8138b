"""Probabilities as 16-bit fixed point: 0 is 0, 65535 is 1.

A number is off by at most half a step, 1/131070, and single precision's own rounding. So is a weighted
mean of members, whatever their number. Two labels' scores can therefore change their order only where
they lie within one step, 1/65535, of each other, and a region's voxel only where its score lies within
half a step of 0.5; everywhere else a segmentation fused from stored probabilities is the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.probabilities.stream import RANGE_TOLERANCE, Block

ONE = 65535
STEP = 1 / ONE
ERROR_BOUND = STEP / 2 + 2.0**-23
PASS_VOXELS = 1 << 16  # fits the cache of a core with its copies
ONE_AS_BITS = int(np.float32(ONE).view(np.uint32))

Fixed = NDArray[np.uint16]


def quantise(block: Block, out: Fixed) -> None:
    """Round probabilities to the nearest step.

    Args:
        block: of one dimension; what lies outside 0..1 by up to 1e-5 is taken for 0 or 1.
        out: as many numbers, to write to.

    Raises:
        ProbabilitiesError: a value is not finite or lies outside 0..1.
    """
    scaled = np.empty(min(len(block), PASS_VOXELS), np.float32)
    for start in range(0, len(block), PASS_VOXELS):
        part = block[start : start + PASS_VOXELS]
        steps = scaled[: len(part)]
        np.multiply(part, np.float32(ONE), out=steps)
        np.rint(steps, out=steps)
        if steps.view(np.uint32).max() > ONE_AS_BITS:  # as do the bits of what is negative, and of NaN
            _clip(part, steps)
        np.copyto(out[start : start + PASS_VOXELS], steps, casting="unsafe")


def dequantise(fixed: Fixed, out: Block) -> Block:
    """Write the probabilities that `fixed` stands for to `out`, and return it."""
    return np.multiply(fixed, np.float32(STEP), out=out)


def _clip(part: Block, steps: Block) -> None:
    wrong = ~((part >= -RANGE_TOLERANCE) & (part <= 1 + RANGE_TOLERANCE))
    if wrong.any():
        raise ProbabilitiesError(f"a value is {part[wrong][0]}; probabilities lie in 0..1.")
    np.clip(steps, 0, ONE, out=steps)
