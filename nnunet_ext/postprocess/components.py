"""Connected components: keep the largest, remove small ones, and drop labels of too little volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from nnunet_ext.nnunet.dataset_json import BACKGROUND

Group = tuple[int, ...]
Segmentation = NDArray[np.integer]
# From the size in voxels and the group of each component: which components stay.
Choice = Callable[[NDArray[np.int64], NDArray[np.integer]], Any]


def keep_largest(segmentation: Segmentation, groups: Sequence[Group], connectivity: int = 26) -> Segmentation:
    """Keep the largest connected component of each group of labels; the rest becomes background.

    Args:
        segmentation: labels, `(Z, Y, X)` or `(Y, X)`; a single slice is treated as 2D.
        groups: labels of one group are one foreground: `[(1,), (2,)]` each alone, `[(1, 2)]` together.
        connectivity: 6 (faces), 18 (and edges) or 26 (and corners); in 2D 4, and 8 for both others.

    Returns:
        A new array. Components of equal, largest size all stay, so that the result does not depend
        on the orientation; a group that is absent changes nothing.

    Source: `remove_all_but_largest_component_from_segmentation` of nnU-Net.
    """
    return _keep(segmentation, groups, connectivity, are_largest)


def remove_small(
    segmentation: Segmentation, groups: Sequence[Group], min_voxels: float, connectivity: int = 26
) -> Segmentation:
    """Turn connected components of fewer than `min_voxels` voxels into background.

    Args:
        segmentation: as for `keep_largest`.
        groups: as for `keep_largest`.
        min_voxels: smallest size that stays; need not be whole.
        connectivity: as for `keep_largest`.

    Returns:
        A new array.
    """
    return _keep(segmentation, groups, connectivity, lambda sizes, _: are_as_large(sizes, min_voxels))


def drop_below(segmentation: Segmentation, groups: Sequence[Group], min_voxels: float) -> Segmentation:
    """Turn a group of labels into background where all of it together has fewer than `min_voxels` voxels.

    Args:
        segmentation: labels, in any shape.
        groups: as for `keep_largest`.
        min_voxels: smallest number that stays; need not be whole.

    Returns:
        A new array.
    """
    result = segmentation.copy()
    for group in groups:
        inside = np.isin(result, group)
        if not are_as_large(int(np.count_nonzero(inside)), min_voxels):
            result[inside] = BACKGROUND
    return result


def are_largest(sizes: NDArray[np.int64], group_of: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which components are as large as the largest of their group."""
    maxima = np.zeros(int(group_of.max(initial=0)) + 1, np.int64)
    np.maximum.at(maxima, group_of, sizes)
    return sizes == maxima[group_of]


def are_as_large(sizes: NDArray[np.int64] | int, min_voxels: float) -> NDArray[np.bool_] | bool:
    """Return which sizes reach a smallest one; that size itself does, whatever the rounding of its volume."""
    return sizes >= min_voxels * (1 - 1e-9)


def find_components(
    segmentation: Segmentation, groups: Sequence[Group], connectivity: int = 26
) -> tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.integer]]:
    """Find the connected components of groups that have no label in common.

    Returns:
        The number of each voxel's component, 0 for none; each component's voxels; and the number of
        its group, from 1.
    """
    flat = _as_plane(segmentation)
    grouped = group_image(flat, groups)
    components, n_components = cc3d.connected_components(
        grouped, connectivity=_connectivity(connectivity, flat.ndim), return_N=True
    )
    sizes = np.bincount(components.ravel(), minlength=n_components + 1)
    group_of = np.zeros(n_components + 1, grouped.dtype)
    group_of[components.ravel()] = grouped.ravel()
    return components.reshape(segmentation.shape), sizes, group_of


def group_image(segmentation: Segmentation, groups: Sequence[Group]) -> NDArray[np.uint16]:
    """Return the number of the group, from 1, that each voxel's label belongs to; 0 for none."""
    highest = max(int(segmentation.max(initial=0)), *(max(group) for group in groups))
    table = np.zeros(highest + 1, np.uint16)
    for number, group in enumerate(groups, start=1):
        table[list(group)] = number
    return table[segmentation]


def _keep(
    segmentation: Segmentation, groups: Sequence[Group], connectivity: int, choice: Choice
) -> Segmentation:
    result = segmentation.copy()
    for batch in _disjoint_batches(groups):
        components, sizes, group_of = find_components(result, batch, connectivity)
        stays = choice(sizes, group_of)
        stays[0] = True
        result[~stays[components]] = BACKGROUND
    return result


def _as_plane(array: Segmentation) -> Segmentation:
    return array[0] if array.ndim == 3 and array.shape[0] == 1 else array


def _connectivity(connectivity: int, n_axes: int) -> int:
    return connectivity if n_axes == 3 else (4 if connectivity == 6 else 8)


def _disjoint_batches(groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
    """Yield all groups at once where no label is in two of them, else one after the other."""
    n_labels = sum(len(set(group)) for group in groups)
    if len({label for group in groups for label in group}) == n_labels:
        yield groups
    else:
        yield from ([group] for group in groups)
