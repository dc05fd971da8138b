"""Resampling along one axis as a matrix, made by the very function that nnU-Net calls.

nnU-Net's resampling of volumes is linear and separable: what `skimage.transform.resize` and
`scipy.ndimage.map_coordinates` do along an axis, from `n_in` voxels to `n_out`, is a matrix
`(n_out, n_in)`, which is had exactly by resampling the identity. A volume is then resampled by one product
per axis.

Rows of such a matrix hold few entries that count: 2 of linear interpolation; about 40 of cubic, whose
prefilter falls by a factor of 0.27 per voxel. So a product is made in blocks of rows, each with the columns
that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from skimage.transform import resize

NEGLIGIBLE = 1e-9  # smaller entries change nothing in single precision, and denormal numbers are slow
ROWS_PER_BLOCK = 32


@dataclass(frozen=True)
class RowBlock:
    """Rows of a matrix with the columns in which they hold anything.

    Attributes:
        start, stop: the rows.
        first, last: the columns, `last` not included.
        entries: `(stop - start, last - first)`.
    """

    start: int
    stop: int
    first: int
    last: int
    entries: torch.Tensor

    def rows(self, start: int, stop: int) -> RowBlock:
        """Those of its rows that lie between `start` and `stop`."""
        low, high = max(self.start, start), min(self.stop, stop)
        return replace(self, start=low, stop=high, entries=self.entries[low - self.start : high - self.start])

    def shifted(self, rows: int, columns: int) -> RowBlock:
        """The same entries elsewhere in a matrix."""
        return RowBlock(
            self.start + rows, self.stop + rows, self.first + columns, self.last + columns, self.entries
        )


@dataclass(frozen=True)
class AxisOperator:
    """Resampling of one axis from `n_in` to `n_out` voxels.

    Attributes:
        n_in, n_out: numbers of voxels.
        blocks: the matrix in blocks of rows; None where each output voxel is a copy of one input voxel.
        sources: of such copies, the input voxel of each output voxel, ascending.
    """

    n_in: int
    n_out: int
    blocks: tuple[RowBlock, ...] | None
    sources: torch.Tensor | None

    @property
    def is_identity(self) -> bool:
        """Whether the axis stays as it is."""
        return self.blocks is None and self.sources is None

    @property
    def growth(self) -> float:
        """Voxels after for each voxel before."""
        return self.n_out / self.n_in

    def part(self, start: int, stop: int) -> tuple[slice, AxisOperator]:
        """The operator that makes the output voxels `start` to `stop` alone.

        Returns:
            The input voxels that these depend on, and the operator from them.
        """
        if (start, stop) == (0, self.n_out):
            return slice(0, self.n_in), self
        if self.sources is not None:
            first, last = int(self.sources[start]), int(self.sources[stop - 1]) + 1
            part = AxisOperator(last - first, stop - start, None, self.sources[start:stop] - first)
        elif self.blocks is None:
            first, last = start, stop
            part = AxisOperator(last - first, stop - start, None, None)
        else:
            touched = [
                block.rows(start, stop) for block in self.blocks if block.start < stop and block.stop > start
            ]
            first, last = min(block.first for block in touched), max(block.last for block in touched)
            part = AxisOperator(
                last - first, stop - start, tuple(block.shifted(-start, -first) for block in touched), None
            )
        return slice(first, last), part


@lru_cache(maxsize=256)
def resize_operator(n_in: int, n_out: int, order: int) -> AxisOperator:
    """What `skimage.transform.resize(…, order, mode="edge", anti_aliasing=False)` does along an axis.

    Args:
        n_in: voxels of the axis before.
        n_out: voxels after.
        order: of the spline, 0 to 5.
    """
    if n_in == n_out:
        return AxisOperator(n_in, n_out, None, None)
    matrix = resize(np.eye(n_in), (n_out, n_in), order, mode="edge", anti_aliasing=False, clip=False)
    if order == 0:
        return AxisOperator(n_in, n_out, None, torch.from_numpy(matrix.argmax(axis=1)))
    return AxisOperator(n_in, n_out, _blocks(matrix), None)


@lru_cache(maxsize=256)
def thick_axis_operator(n_in: int, n_out: int, order: int) -> AxisOperator:
    """What `map_coordinates(…, order, mode="nearest")` does along the thick axis of anisotropic volumes.

    With order 0 each plane is a copy of one plane, and scipy's own rounding decides of which.

    Source: `resample_data_or_seg` of nnU-Net.
    """
    if n_in == n_out:
        return AxisOperator(n_in, n_out, None, None)
    coordinates = n_in / n_out * (np.arange(n_out) + 0.5) - 0.5
    if order == 0:
        sources = map_coordinates(np.arange(n_in, dtype=float), coordinates[None], order=0, mode="nearest")
        return AxisOperator(n_in, n_out, None, torch.from_numpy(np.rint(sources).astype(np.int64)))
    columns = [map_coordinates(one, coordinates[None], order=order, mode="nearest") for one in np.eye(n_in)]
    return AxisOperator(n_in, n_out, _blocks(np.stack(columns, axis=1)), None)


def _blocks(matrix: NDArray[np.float64]) -> tuple[RowBlock, ...]:
    matrix = np.where(np.abs(matrix) < NEGLIGIBLE, 0.0, matrix)
    blocks = []
    for start in range(0, len(matrix), ROWS_PER_BLOCK):
        rows = matrix[start : start + ROWS_PER_BLOCK]
        columns = np.flatnonzero(rows.any(axis=0))
        first, last = int(columns[0]), int(columns[-1]) + 1
        entries = torch.from_numpy(np.ascontiguousarray(rows[:, first:last], dtype=np.float32))
        blocks.append(RowBlock(start, start + len(rows), first, last, entries))
    return tuple(blocks)


def apply_along(operator: AxisOperator, volume: torch.Tensor, axis: int) -> torch.Tensor:
    """Resample one axis of a tensor.

    Args:
        operator: of that axis.
        volume: any number of axes, single precision, on any device.
        axis: counted from the front.

    Returns:
        A new tensor, or `volume` itself where nothing changes.
    """
    if operator.sources is not None:
        return volume.index_select(axis, operator.sources.to(volume.device))
    if operator.blocks is None:
        return volume
    shape = (*volume.shape[:axis], operator.n_out, *volume.shape[axis + 1 :])
    result = torch.empty(shape, dtype=volume.dtype, device=volume.device)
    source = volume.reshape(prod(shape[:axis]), operator.n_in, prod(shape[axis + 1 :]))
    target = result.view(source.shape[0], operator.n_out, source.shape[2])
    for block in operator.blocks:
        entries = block.entries.to(volume.device)
        needed = source[:, block.first : block.last]
        if source.shape[2] == 1:  # the last axis: one product for all lines
            target[:, block.start : block.stop, 0] = needed[..., 0] @ entries.T
        else:
            target[:, block.start : block.stop] = torch.matmul(entries, needed)
    return result
