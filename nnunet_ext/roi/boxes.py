"""Boxes of voxels: around a region, with a margin in mm, moved at random, grown where an organ goes on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.postprocess.components import Segmentation, find_components
from nnunet_ext.postprocess.holes import bounding_slices

AXES = "zyx"
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Face:
    """One face of a box.

    Attributes:
        axis: index of the array's axis, `z` first.
        at_end: whether the face is at the last voxel of the axis, not at the first.
    """

    axis: int
    at_end: bool

    def name(self, n_axes: int = 3) -> str:
        """Return the name of the face: `z-` is at the first slice, `x+` at the last column."""
        return AXES[-n_axes:][self.axis] + ("+" if self.at_end else "-")


@dataclass(frozen=True)
class Box:
    """A box of voxels, from `start` up to but without `stop`, in the array's axis order."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def n_voxels(self) -> int:
        """Number of all voxels."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The slices that take the box out of an array."""
        return tuple(slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def faces(self) -> tuple[Face, ...]:
        """The faces of the box, two per axis."""
        return tuple(Face(axis, at_end) for axis in range(len(self.start)) for at_end in (False, True))

    def size_mm(self, spacing: Sequence[float]) -> tuple[float, ...]:
        """Return the lengths of the edges in mm."""
        return tuple(n * mm for n, mm in zip(self.shape, spacing, strict=True))

    def is_at_border(self, face: Face, shape: Sequence[int]) -> bool:
        """Return whether a face lies at the border of the scan."""
        if face.at_end:
            return self.stop[face.axis] >= shape[face.axis]
        return self.start[face.axis] <= 0

    def moved(self, steps: Iterable[tuple[Face, int]], shape: Sequence[int]) -> Box:
        """Return the box with faces moved outwards by voxels, inwards where negative, within the scan."""
        start, stop = list(self.start), list(self.stop)
        for face, n_voxels in steps:
            if face.at_end:
                stop[face.axis] = min(stop[face.axis] + n_voxels, shape[face.axis])
            else:
                start[face.axis] = max(start[face.axis] - n_voxels, 0)
        return Box(tuple(start), tuple(stop))


def whole_box(shape: Sequence[int]) -> Box:
    """Return the box of the whole scan."""
    return Box((0,) * len(shape), tuple(int(size) for size in shape))


def bounding_box(mask: Mask) -> Box | None:
    """Return the smallest box that holds all of a mask; None where the mask is empty."""
    if not mask.any():
        return None
    slices = bounding_slices(mask)
    return Box(tuple(along.start for along in slices), tuple(along.stop for along in slices))


def region_box(segmentation: Segmentation, values: Sequence[int], n_components: int | None) -> Box | None:
    """Return the bounding box of a region's largest components; None where the region is absent.

    Args:
        segmentation: segmentation of the scan.
        values: labels that make the region together.
        n_components: how many components count. None is all of them.
    """
    if n_components is None:
        return bounding_box(np.isin(segmentation, values))
    return bounding_box(largest_components(segmentation, values, n_components))


def largest_components(segmentation: Segmentation, values: Sequence[int], n_components: int) -> Mask:
    """Return a region's largest components.

    Components of the same size as the last one count, too, so that the result does not depend on the
    orientation.
    """
    components, sizes, _ = find_components(segmentation, [tuple(values)])
    sizes[0] = 0
    if not sizes.any():
        return np.zeros(segmentation.shape, np.bool_)
    smallest = np.sort(sizes[sizes > 0])[::-1][:n_components][-1]
    return (sizes >= smallest)[components]


def voxels_of(length_mm: float, spacing_mm: float) -> int:
    """Return the least number of voxels that reach a length."""
    return math.ceil(length_mm / spacing_mm - 1e-9)  # 3 mm are 10 voxels of 0.3 mm, not 11


def with_margin(box: Box, margin_mm: float, grid: Geometry) -> Box:
    """Return the box with a margin of at least so many mm on every side, within the scan."""
    steps = [(face, voxels_of(margin_mm, grid.spacing[face.axis])) for face in box.faces]
    return box.moved(steps, grid.shape)


def jittered(box: Box, inner: Box, jitter_mm: float, grid: Geometry, generator: np.random.Generator) -> Box:
    """Return the box with each face moved in or out at random, as the boxes of a coarse model vary.

    Args:
        box: the box with its margin.
        inner: the bounding box of the organ, which stays inside.
        jitter_mm: the most by which a face moves.
        grid: the scan's grid.
        generator: random numbers.
    """
    steps = []
    for face in box.faces:
        most = int(jitter_mm / grid.spacing[face.axis] + 1e-9)
        room = _distance(box, inner, face)
        steps.append((face, max(int(generator.integers(-most, most + 1)), -room)))
    return box.moved(steps, grid.shape)


def _distance(box: Box, inner: Box, face: Face) -> int:
    """Return the voxels by which a face may move inwards before it cuts the inner box."""
    if face.at_end:
        return box.stop[face.axis] - inner.stop[face.axis]
    return inner.start[face.axis] - box.start[face.axis]


def generator_of(seed: int, case_id: str) -> np.random.Generator:
    """Return random numbers of one case, which do not depend on the other cases and their order."""
    digest = hashlib.sha256(f"{seed}/{case_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def describe_box(box: Box, grid: Geometry) -> dict[str, Any]:
    """Describe a box for a record: its voxels, its size in mm and its share of the scan."""
    return {
        "start": list(box.start),
        "stop": list(box.stop),
        "size_mm": [round(mm, 3) for mm in box.size_mm(grid.spacing)],
        "share_of_scan": round(box.n_voxels / math.prod(grid.shape), 6),
    }


MAX_GROWTHS = 3
LEAST_STEP_MM = 10.0


def touched_faces(organ: Mask, box: Box, shape: Sequence[int]) -> tuple[Face, ...]:
    """Return the faces of a box that an organ reaches and beyond which the scan goes on.

    Args:
        organ: mask of the organ within the box alone.
        box: the box in the scan.
        shape: shape of the scan.
    """
    return tuple(
        face
        for face in box.faces
        if not box.is_at_border(face, shape) and organ.take(-1 if face.at_end else 0, axis=face.axis).any()
    )


def grown(box: Box, faces: Sequence[Face], step_mm: float, grid: Geometry) -> Box:
    """Return the box with these faces moved outwards by at least so many mm, within the scan."""
    return box.moved([(face, voxels_of(step_mm, grid.spacing[face.axis])) for face in faces], grid.shape)


def step_mm(margin_mm: float, n_growths: int) -> float:
    """Return how far faces move after so many growths: the margin, 10 mm at least, twice as far each time."""
    return max(margin_mm, LEAST_STEP_MM) * 2.0**n_growths
