"""How the compact store cuts each label: into slabs of whole planes, each compressed on its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

SLAB_VOXELS = 1 << 20
BLOCK_VOXELS = 1 << 18


@dataclass(frozen=True)
class Slabs:
    """The slabs of a label. A slab's voxels follow each other in the label's, in C order.

    Attributes:
        shape: of one label, `(Z, Y, X)` or `(Y, X)`.
        size: of one slab: 1 along the first axes, then some planes, then all of the other axes.
            The last of an axis may be cut off.
        block: of what is compressed at a time, the same way within a slab.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    block: tuple[int, ...]

    def __post_init__(self) -> None:
        for inner, outer in ((self.size, self.shape), (self.block, self.size)):
            after = _cut_axis(inner) + 1
            if len(inner) != len(outer) or inner[after:] != outer[after:]:
                raise ValueError(f"slabs of {self.size} in blocks of {self.block} do not cut {self.shape}")

    @classmethod
    def of_shape(cls, shape: tuple[int, ...]) -> Slabs:
        """About a million voxels a slab, in blocks that fit a core's cache."""
        plane = math.prod(shape[1:])
        if plane > SLAB_VOXELS and len(shape) > 1:
            inner = cls.of_shape(shape[1:])
            return cls(shape, (1, *inner.size), (1, *inner.block))
        block = min(shape[0], max(1, BLOCK_VOXELS // plane))
        planes = min(shape[0], block * max(1, SLAB_VOXELS // (block * plane)))
        return cls(shape, (planes, *shape[1:]), (block, *shape[1:]))

    def voxels(self) -> Iterator[slice]:
        """Each slab's voxels among the label's, in order."""
        axis = _cut_axis(self.size)
        plane = math.prod(self.shape[axis + 1 :])
        starts = [range(0, n, step) for n, step in zip(self.shape, self.size[: axis + 1], strict=False)]
        for place in itertools.product(*starts):
            first = 0
            for index, length in zip(place, self.shape, strict=False):
                first = first * length + index
            planes = min(self.size[axis], self.shape[axis] - place[axis])
            yield slice(first * plane, (first + planes) * plane)

    @property
    def n_slabs(self) -> int:
        """How many slabs a label is cut into."""
        return math.prod(math.ceil(n / step) for n, step in zip(self.shape, self.size, strict=True))

    @property
    def n_stored(self) -> int:
        """Voxels that one slab takes, those included that fill its last block."""
        return math.prod(math.ceil(n / step) * step for n, step in zip(self.size, self.block, strict=True))


def _cut_axis(size: tuple[int, ...]) -> int:
    return next((axis for axis, n in enumerate(size) if n != 1), len(size) - 1)
