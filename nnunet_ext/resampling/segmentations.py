"""Label maps resampled as nnU-Net does, at the cost of the voxels at borders alone.

nnU-Net resamples the indicator of each label linearly, and the label of the largest share wins. Where all
neighbours of a voxel have one label, it is that label; only voxels whose neighbours differ are weighed.

Source: `resize_segmentation` of batchgenerators, as `resample_data_or_seg` of nnU-Net calls it.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from itertools import product

import numpy as np
from batchgenerators.augmentations.utils import resize_segmentation
from numpy.typing import NDArray

from nnunet_ext.resampling.operators import AxisOperator, resize_operator
from nnunet_ext.resampling.volumes import Grid

Segmentation = NDArray[np.integer | np.floating]
TIE = 1e-6  # shares that differ by less are equal: the operators' entries are of single precision
HALF = 0.5
VOXELS_AT_ONCE = 1 << 16
# In older versions of batchgenerators the highest label wins whose share reaches one half; 0 where none does.
LARGEST_SHARE_WINS = "seg_tiebreak" in inspect.signature(resize_segmentation).parameters


@dataclass(frozen=True)
class _Neighbours:
    """The two input voxels along an axis between which each output voxel lies.

    Attributes:
        lower, upper: their numbers; the same where one alone counts.
        share: of the upper one.
        nearest: the input voxel that is nearest to each output voxel.
    """

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    share: NDArray[np.float64]
    nearest: NDArray[np.intp]

    @classmethod
    def of(cls, operator: AxisOperator) -> _Neighbours:
        """Read them from the operator of an axis."""
        if operator.blocks is None:
            lower = np.arange(operator.n_in) if operator.sources is None else operator.sources.numpy()
            return cls.copies_of(lower)
        lower, upper = np.empty(operator.n_out, np.intp), np.empty(operator.n_out, np.intp)
        share = np.zeros(operator.n_out)
        for block in operator.blocks:
            for row, entries in enumerate(block.entries.numpy(), block.start):
                columns = np.flatnonzero(entries)
                lower[row], upper[row] = columns[0] + block.first, columns[-1] + block.first
                share[row] = entries[columns[-1]] if len(columns) == 2 else 0.0
        nearest = resize_operator(operator.n_in, operator.n_out, 0).sources
        return cls(lower, upper, share, lower if nearest is None else nearest.numpy())

    @classmethod
    def copies_of(cls, sources: NDArray[np.intp]) -> _Neighbours:
        """Each output voxel is a copy of one input voxel."""
        return cls(sources, sources, np.zeros(len(sources)), sources)

    @property
    def differ(self) -> bool:
        """Whether any output voxel lies between two input voxels."""
        return bool((self.lower != self.upper).any())


def resample_segmentation(segmentation: Segmentation, grid: Grid) -> Segmentation:
    """Resample one label map.

    Args:
        segmentation: `(X, Y, Z)`; negative values are labels, too.
        grid: of order 0 or 1, and of order 0 along a thick axis.

    Returns:
        The label map on the new grid, of the same type.

    Raises:
        ValueError: the grid is of another order.
    """
    thick = None if grid.thick_axis is None else grid.operators[grid.thick_axis]
    if grid.order > 1 or (thick is not None and thick.blocks is not None):
        raise ValueError(f"label maps are resampled with order 0 or 1, not {grid.order}")
    axes = [_Neighbours.of(operator) for operator in grid.operators]
    if thick is not None and grid.thick_axis is not None:
        # Planes are copies of planes: only those that are copied are made, and once.
        needed, copies = np.unique(axes[grid.thick_axis].lower, return_inverse=True)
        axes[grid.thick_axis] = _Neighbours.copies_of(needed)
        return np.take(_between(segmentation, axes), copies, grid.thick_axis)
    return _between(segmentation, axes)


def _between(segmentation: Segmentation, axes: list[_Neighbours]) -> Segmentation:
    """Each output voxel's label from its two neighbours along each axis."""
    lowest = highest = segmentation
    for axis, neighbours in enumerate(axes):
        if neighbours.differ:
            lowest, highest = _with_next(lowest, axis, np.minimum), _with_next(highest, axis, np.maximum)
    result, uniform = segmentation, lowest == highest
    for axis, neighbours in enumerate(axes):
        result, uniform = np.take(result, neighbours.lower, axis), np.take(uniform, neighbours.lower, axis)
    if not uniform.all():
        places = np.flatnonzero(~uniform)
        flat = result.reshape(-1)
        for start in range(0, len(places), VOXELS_AT_ONCE):
            some = places[start : start + VOXELS_AT_ONCE]
            flat[some] = _weigh(segmentation, axes, np.unravel_index(some, result.shape))
    return result


def _with_next(values: Segmentation, axis: int, better: np.ufunc) -> Segmentation:
    """Of each voxel and the next one along an axis, the lower or the higher; the last has none."""
    result = values.copy()
    here = tuple(slice(None, -1) if one == axis else slice(None) for one in range(values.ndim))
    following = tuple(slice(1, None) if one == axis else slice(None) for one in range(values.ndim))
    better(values[here], values[following], out=result[here])
    return result


def _weigh(
    segmentation: Segmentation, axes: list[_Neighbours], places: tuple[NDArray[np.intp], ...]
) -> Segmentation:
    """The winning label at each place, by the shares of its neighbours' labels."""
    labels, shares = [], []
    for corner in product((False, True), repeat=len(axes)):
        share = np.ones(len(places[0]))
        at = []
        for upper, neighbours, place in zip(corner, axes, places, strict=True):
            at.append((neighbours.upper if upper else neighbours.lower)[place])
            share *= neighbours.share[place] if upper else 1 - neighbours.share[place]
        if share.any():
            labels.append(segmentation[tuple(at)])
            shares.append(share)
    totals = [
        np.sum([share * (other == label) for other, share in zip(labels, shares, strict=True)], axis=0)
        for label in labels
    ]
    if not LARGEST_SHARE_WINS:
        return _highest_of_half(labels, totals)
    nearest = segmentation[
        tuple(neighbours.nearest[place] for neighbours, place in zip(axes, places, strict=True))
    ]
    return _largest_share(labels, totals, nearest)


def _largest_share(
    labels: list[Segmentation], totals: list[NDArray[np.float64]], nearest: Segmentation
) -> Segmentation:
    """The label of the largest share; of equal ones that of the nearest voxel, else the lowest."""
    best = np.max(totals, axis=0) - TIE
    result, wins = labels[0].copy(), totals[0] >= best
    is_nearest = wins & (labels[0] == nearest)
    for label, total in zip(labels[1:], totals[1:], strict=True):
        equal = total >= best
        lower = equal & (~wins | (label < result))
        result[lower] = label[lower]
        wins |= equal
        is_nearest |= equal & (label == nearest)
    result[is_nearest] = nearest[is_nearest]
    return result


def _highest_of_half(labels: list[Segmentation], totals: list[NDArray[np.float64]]) -> Segmentation:
    """The highest label whose share reaches one half; 0 where none does."""
    result = np.zeros_like(labels[0])
    reached = np.zeros(len(result), bool)
    for label, total in zip(labels, totals, strict=True):
        wins = (total >= HALF - TIE) & (~reached | (label > result))
        result[wins], reached = label[wins], reached | wins
    return result
