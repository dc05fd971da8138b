"""Tables of one case, from which the counts after any single step of post-processing follow at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.metrics.overlap import Joint, joint_histogram
from nnunet_ext.nnunet.dataset_json import BACKGROUND
from nnunet_ext.postprocess.components import Group, Segmentation, are_as_large, are_largest, find_components
from nnunet_ext.postprocess.holes import bounding_slices, fill_holes
from nnunet_ext.postprocess.steps import FillHoles, KeepLargest, RemoveSmall, Step


@dataclass(frozen=True)
class GroupTable:
    """Components and holes of one group of labels in one case.

    Attributes:
        sizes: voxels of each of its components.
        joints: counts of pairs of each component, `(components, n, n)`.
        filled: the counts of the whole case after its holes were filled.
    """

    sizes: NDArray[np.int64]
    joints: NDArray[np.int32]
    filled: Joint

    @property
    def n_voxels(self) -> int:
        """Voxels of the group."""
        return int(self.sizes.sum())


@dataclass(frozen=True)
class CaseTable:
    """The counts of one case, and the tables of its groups of labels.

    Attributes:
        joint: counts of pairs `(n, n)` of the case, prediction before reference.
        voxel_mm3: volume of a voxel.
        groups: the table of each group that a step may be for.
    """

    joint: Joint
    voxel_mm3: float
    groups: dict[Group, GroupTable]

    def after(self, step: Step) -> Joint:
        """Return the counts of pairs after a step on one group."""
        (group,) = step.groups
        table = self.groups[group]
        if isinstance(step, FillHoles):
            return table.filled
        stays: NDArray[np.bool_]
        if isinstance(step, KeepLargest):
            stays = are_largest(table.sizes, np.zeros(len(table.sizes), np.int64))
        elif isinstance(step, RemoveSmall):
            stays = np.asarray(are_as_large(table.sizes, step.min_volume_mm3 / self.voxel_mm3))
        else:
            stays = np.full(
                len(table.sizes), are_as_large(table.n_voxels, step.min_volume_mm3 / self.voxel_mm3)
            )
        removed = table.joints[~stays].sum(axis=0, dtype=np.int64)
        joint = self.joint - removed
        joint[BACKGROUND] += removed.sum(axis=0)
        return joint


def tabulate(
    segmentation: Segmentation,
    reference: Segmentation,
    groups: Sequence[Group],
    voxel_mm3: float,
    n_values: int,
) -> CaseTable:
    """Make the tables of one case; components are of connectivity 26, corners included.

    Args:
        segmentation: labels, `(Z, Y, X)` or `(Y, X)`.
        reference: labels of the same shape.
        groups: groups of labels that a step may be for.
        voxel_mm3: volume of a voxel.
        n_values: the least number of rows and columns of the counts.
    """
    joint = joint_histogram(segmentation, reference, n_values)
    n_values = len(joint)
    held = segmentation != BACKGROUND
    if not groups:
        return CaseTable(joint, voxel_mm3, {})
    if not held.any():
        return CaseTable(joint, voxel_mm3, {group: _no_components(joint) for group in groups})
    box = bounding_slices(held)  # all components and holes lie within it
    predicted, expected = segmentation[box], reference[box]
    pairs = predicted.astype(np.int64) * n_values + expected
    components: dict[Group, Components] = {}
    for batch in _batches_without_common_labels(groups):
        components |= _components_of(predicted, pairs, batch, n_values)
    tables: dict[Group, GroupTable] = {}
    for group in groups:
        filled = np.flatnonzero(fill_holes(predicted, [group]) != predicted)
        before = pairs.reshape(-1)[filled]
        change = _histogram(group[0] * n_values + before % n_values, n_values) - _histogram(before, n_values)
        tables[group] = GroupTable(*components[group], joint + change)
    return CaseTable(joint, voxel_mm3, tables)


def component_sizes(segmentation: Segmentation, groups: Sequence[Group]) -> dict[Group, NDArray[np.int64]]:
    """Count the voxels of each group's components; empty where the group is absent."""
    found: dict[Group, NDArray[np.int64]] = {}
    for batch in _batches_without_common_labels(groups):
        _, sizes, group_of = find_components(segmentation, batch)
        found |= {group: sizes[1:][group_of[1:] == k] for k, group in enumerate(batch, start=1)}
    return found


# Voxels of each component of a group, and the counts of pairs of each.
Components = tuple[NDArray[np.int64], NDArray[np.int32]]


def _components_of(
    predicted: Segmentation, pairs: NDArray[np.int64], groups: Sequence[Group], n_values: int
) -> dict[Group, Components]:
    components, sizes, group_of = find_components(predicted, groups)
    inside = np.flatnonzero(components)
    cells = components.reshape(-1)[inside].astype(np.int64) * n_values**2 + pairs.reshape(-1)[inside]
    counted = np.bincount(cells, minlength=len(sizes) * n_values**2)
    joints = counted.astype(np.int32).reshape(len(sizes), n_values, n_values)
    members = {group: np.flatnonzero(group_of[1:] == k) + 1 for k, group in enumerate(groups, start=1)}
    return {group: (sizes[own], joints[own]) for group, own in members.items()}


def _histogram(pairs: NDArray[np.int64], n_values: int) -> Joint:
    return np.bincount(pairs, minlength=n_values**2).reshape(n_values, n_values)


def _no_components(joint: Joint) -> GroupTable:
    return GroupTable(np.empty(0, np.int64), np.empty((0, *joint.shape), np.int32), joint)


def _batches_without_common_labels(groups: Sequence[Group]) -> list[list[Group]]:
    """Divide groups into batches whose groups have no label in common, as few as a greedy choice gives."""
    batches: list[list[Group]] = []
    for group in groups:
        fitting = [batch for batch in batches if all(not set(group) & set(other) for other in batch)]
        if fitting:
            fitting[0].append(group)
        else:
            batches.append([group])
    return batches
