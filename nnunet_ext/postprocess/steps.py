"""Steps of post-processing as values: which operation on which labels, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nnunet_ext.errors import PlanError, joined_faults
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.dataset_json import BACKGROUND, Labels
from nnunet_ext.postprocess.components import Group, Segmentation, drop_below, keep_largest, remove_small
from nnunet_ext.postprocess.holes import fill_holes


@dataclass(frozen=True)
class KeepLargest:
    """Keeps the largest component of each group of labels."""

    groups: tuple[Group, ...]
    connectivity: int = 26

    def apply(self, segmentation: Segmentation, voxel_mm3: float) -> Segmentation:
        """Return a new segmentation after the step."""
        return keep_largest(segmentation, self.groups, self.connectivity)


@dataclass(frozen=True)
class RemoveSmall:
    """Removes components of less than a volume in mm3 (in 2D mm2)."""

    groups: tuple[Group, ...]
    min_volume_mm3: float
    connectivity: int = 26

    def apply(self, segmentation: Segmentation, voxel_mm3: float) -> Segmentation:
        """Return a new segmentation after the step."""
        return remove_small(segmentation, self.groups, self.min_volume_mm3 / voxel_mm3, self.connectivity)


@dataclass(frozen=True)
class FillHoles:
    """Fills background that a group of labels encloses."""

    groups: tuple[Group, ...]
    slice_by_slice: bool = False

    def apply(self, segmentation: Segmentation, voxel_mm3: float) -> Segmentation:
        """Return a new segmentation after the step."""
        return fill_holes(segmentation, self.groups, self.slice_by_slice)


@dataclass(frozen=True)
class VolumeFloor:
    """Removes a group of labels from a case that has less than a volume in mm3 of it (in 2D mm2)."""

    groups: tuple[Group, ...]
    min_volume_mm3: float

    def apply(self, segmentation: Segmentation, voxel_mm3: float) -> Segmentation:
        """Return a new segmentation after the step."""
        return drop_below(segmentation, self.groups, self.min_volume_mm3 / voxel_mm3)


Step = KeepLargest | RemoveSmall | FillHoles | VolumeFloor


@dataclass(frozen=True)
class Applied:
    """A segmentation after its steps, and the number of voxels that each step changed."""

    segmentation: Segmentation
    n_voxels_changed: tuple[int, ...]


def apply_steps(segmentation: Segmentation, steps: Sequence[Step], geometry: Geometry) -> Applied:
    """Apply steps one after the other.

    Args:
        segmentation: labels, `(Z, Y, X)` or `(Y, X)`; it is not changed.
        steps: the steps in order.
        geometry: the scan's grid, for volumes in mm3.
    """
    changed = []
    for step in steps:
        after = step.apply(segmentation, geometry.voxel_mm3)
        changed.append(int(np.count_nonzero(after != segmentation)))
        segmentation = after
    return Applied(segmentation, tuple(changed))


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    labels: list[str | int] | str | int | None = None
    union: bool = False

    def step(self, groups: tuple[Group, ...]) -> Step:
        """The step that these options describe."""
        raise NotImplementedError


class _KeepLargest(_Options):
    connectivity: Literal[6, 18, 26] = 26

    def step(self, groups: tuple[Group, ...]) -> Step:
        return KeepLargest(groups, self.connectivity)


class _RemoveSmall(_Options):
    min_volume_mm3: float = Field(gt=0, allow_inf_nan=False)
    connectivity: Literal[6, 18, 26] = 26

    def step(self, groups: tuple[Group, ...]) -> Step:
        return RemoveSmall(groups, self.min_volume_mm3, self.connectivity)


class _FillHoles(_Options):
    slice_by_slice: bool = False

    def step(self, groups: tuple[Group, ...]) -> Step:
        return FillHoles(groups, self.slice_by_slice)


class _VolumeFloor(_Options):
    min_volume_mm3: float = Field(gt=0, allow_inf_nan=False)

    def step(self, groups: tuple[Group, ...]) -> Step:
        return VolumeFloor(groups, self.min_volume_mm3)


STEP_OPTIONS: dict[str, type[_Options]] = {
    "keep_largest": _KeepLargest,
    "remove_small": _RemoveSmall,
    "fill_holes": _FillHoles,
    "volume_floor": _VolumeFloor,
}


def resolve_steps(entries: Sequence[Any], labels: Labels) -> tuple[Step, ...]:
    """Make steps from entries such as `keep_largest` or `{fill_holes: {labels: [liver], union: false}}`.

    Args:
        entries: steps in order; each a name, or a mapping of one name to its options.
        labels: labels of the data set; a step without `labels` treats each foreground label.

    Raises:
        PlanError: a step, option or label is unknown, or a value is out of range; all faults at once.
    """
    steps: list[Step] = []
    faults: list[str] = []
    for number, entry in enumerate(entries, start=1):
        try:
            steps.append(_step(entry, labels))
        except ValidationError as error:
            found = [
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}; found {e['input']!r}" for e in error.errors()
            ]
            faults += [f"step {number}, {next(iter(entry))}: {fault}" for fault in found]
        except ValueError as error:
            faults.append(f"step {number}: {error}")
    if faults:
        raise PlanError(joined_faults("The steps of post-processing cannot be carried out:", faults))
    return tuple(steps)


def _step(entry: Any, labels: Labels) -> Step:
    mapping = {entry: None} if isinstance(entry, str) else entry
    if not isinstance(mapping, dict) or len(mapping) != 1:
        raise ValueError(f"{entry!r} is no step; write 'name' or 'name: {{options}}'")
    ((name, options),) = mapping.items()
    if name not in STEP_OPTIONS:
        raise ValueError(f"{name!r} is unknown; the steps are {', '.join(STEP_OPTIONS)}")
    parsed = STEP_OPTIONS[name].model_validate(options or {})
    return parsed.step(_groups(parsed, labels))


def _groups(options: _Options, labels: Labels) -> tuple[Group, ...]:
    if options.labels is None:
        channels: list[int] = list(labels.foreground)
    else:
        keys = options.labels if isinstance(options.labels, list) else [options.labels]
        found = {key: labels.find(key) for key in keys}
        unknown = [
            key for key, channel in found.items() if channel is None or channel not in labels.foreground
        ]
        if unknown or not found:
            raise ValueError(f"{unknown} are no foreground labels; the labels are {labels.describe()}")
        channels = [channel for channel in found.values() if channel is not None]
    groups = [_group(labels, channel) for channel in channels]
    return (_merged(groups),) if options.union else tuple(groups)


def _group(labels: Labels, channel: int) -> Group:
    """Return the values inside a channel; the channel's own value, which fills holes, comes first."""
    if not labels.is_regions:
        return (labels.values[channel],)
    own = labels.values[channel]
    return (own, *(value for value in labels.covered[channel] if value not in (own, BACKGROUND)))


def _merged(groups: Iterable[Group]) -> Group:
    return tuple(dict.fromkeys(value for group in groups for value in group))
