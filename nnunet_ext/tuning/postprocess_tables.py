"""What every step of post-processing would do to one case, counted without doing it again and again."""

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
    """One group of labels of one case.

    Attributes:
        sizes: voxels of each of its components.
        joints: of each component, the counts of pairs `(components, n, n)`.
        filled: the counts of the whole case after its holes were filled.
    """

    sizes: NDArray[np.int64]
    joints: NDArray[np.int32]
    filled: Joint

    @property
    def n_voxels(self) -> int:
        """Of the group."""
        return int(self.sizes.sum())


@dataclass(frozen=True)
class CaseTable:
    """One case.

    Attributes:
        joint: its counts of pairs `(n, n)`, prediction before reference.
        voxel_mm3: volume of a voxel.
        groups: tables of the groups that steps may be for.
    """

    joint: Joint
    voxel_mm3: float
    groups: dict[Group, GroupTable]

    def after(self, step: Step) -> Joint:
        """The counts of pairs after a step of one group."""
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
    """Tables of one case; steps count with all neighbours, corners included (connectivity 26).

    Args:
        segmentation: labels, `(Z, Y, X)` or `(Y, X)`.
        reference: labels of the same shape.
        groups: of labels, each of which a step may be for.
        voxel_mm3: volume of a voxel.
        n_values: rows and columns of the counts at least.
    """
    joint = joint_histogram(segmentation, reference, n_values)
    n_values = len(joint)
    held = segmentation != BACKGROUND
    if not groups:
        return CaseTable(joint, voxel_mm3, {})
    if not held.any():
        return CaseTable(joint, voxel_mm3, {group: _no_components(joint) for group in groups})
    box = bounding_slices(held)  # no component or hole reaches out of it
    predicted, expected = segmentation[box], reference[box]
    pairs = predicted.astype(np.int64) * n_values + expected
    tables: dict[Group, GroupTable] = {}
    for batch in _disjoint_batches(groups):
        tables |= _of_batch(predicted, pairs, batch, n_values)
    for group in groups:
        filled = np.flatnonzero(fill_holes(predicted, [group]) != predicted)
        before = pairs.reshape(-1)[filled]
        change = _histogram(group[0] * n_values + before % n_values, n_values) - _histogram(before, n_values)
        tables[group] = GroupTable(tables[group].sizes, tables[group].joints, joint + change)
    return CaseTable(joint, voxel_mm3, tables)


def component_sizes(segmentation: Segmentation, groups: Sequence[Group]) -> dict[Group, NDArray[np.int64]]:
    """Voxels of each group's components; empty where the group is absent."""
    found: dict[Group, NDArray[np.int64]] = {}
    for batch in _disjoint_batches(groups):
        _, sizes, group_of = find_components(segmentation, batch)
        found |= {group: sizes[1:][group_of[1:] == k] for k, group in enumerate(batch, start=1)}
    return found


def _of_batch(
    predicted: Segmentation, pairs: NDArray[np.int64], groups: Sequence[Group], n_values: int
) -> dict[Group, GroupTable]:
    components, sizes, group_of = find_components(predicted, groups)
    inside = np.flatnonzero(components)
    cells = components.reshape(-1)[inside].astype(np.int64) * n_values**2 + pairs.reshape(-1)[inside]
    counted = np.bincount(cells, minlength=len(sizes) * n_values**2)
    joints = counted.astype(np.int32).reshape(len(sizes), n_values, n_values)
    members = {group: np.flatnonzero(group_of[1:] == k) + 1 for k, group in enumerate(groups, start=1)}
    return {
        group: GroupTable(sizes[own], joints[own], np.empty((0, 0), np.int64))
        for group, own in members.items()
    }


def _histogram(pairs: NDArray[np.int64], n_values: int) -> Joint:
    return np.bincount(pairs, minlength=n_values**2).reshape(n_values, n_values)


def _no_components(joint: Joint) -> GroupTable:
    return GroupTable(np.empty(0, np.int64), np.empty((0, *joint.shape), np.int32), joint)


def _disjoint_batches(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups in as few batches as it takes for those of a batch to share no label."""
    batches: list[list[Group]] = []
    for group in groups:
        fitting = [batch for batch in batches if all(not set(group) & set(other) for other in batch)]
        if fitting:
            fitting[0].append(group)
        else:
            batches.append([group])
    return batches
