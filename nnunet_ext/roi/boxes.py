"""Boxes of voxels: around a mask, with a margin in mm, moved at random for a training."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.images.geometry import Geometry

AXES = "zyx"
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Face:
    """One face of a box.

    Attributes:
        axis: of the array, `z` first.
        at_end: the face at the last voxel of the axis, not at the first.
    """

    axis: int
    at_end: bool

    def name(self, n_axes: int = 3) -> str:
        """`z-` is the face at the first slice, `x+` that at the last column."""
        return AXES[-n_axes:][self.axis] + ("+" if self.at_end else "-")


@dataclass(frozen=True)
class Box:
    """Voxels from `start` on and before `stop`, in the array's axis order."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def n_voxels(self) -> int:
        """Voxels in all."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """To take the box out of an array."""
        return tuple(slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def faces(self) -> tuple[Face, ...]:
        """All of them, two an axis."""
        return tuple(Face(axis, at_end) for axis in range(len(self.start)) for at_end in (False, True))

    def size_mm(self, spacing: Sequence[float]) -> tuple[float, ...]:
        """Its edges in mm."""
        return tuple(n * mm for n, mm in zip(self.shape, spacing, strict=True))

    def is_at_border(self, face: Face, shape: Sequence[int]) -> bool:
        """Whether a face is the scan's own border."""
        if face.at_end:
            return self.stop[face.axis] >= shape[face.axis]
        return self.start[face.axis] <= 0

    def moved(self, steps: Iterable[tuple[Face, int]], shape: Sequence[int]) -> Box:
        """The box with faces moved outwards by voxels, inwards where negative, and cut off at the scan."""
        start, stop = list(self.start), list(self.stop)
        for face, n_voxels in steps:
            if face.at_end:
                stop[face.axis] = min(stop[face.axis] + n_voxels, shape[face.axis])
            else:
                start[face.axis] = max(start[face.axis] - n_voxels, 0)
        return Box(tuple(start), tuple(stop))


def whole_box(shape: Sequence[int]) -> Box:
    """The box that is the whole scan."""
    return Box((0,) * len(shape), tuple(int(size) for size in shape))


def bounding_box(mask: Mask) -> Box | None:
    """The smallest box that holds all of a mask; None where the mask is empty."""
    lines = [mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)) for axis in range(mask.ndim)]
    if not lines[0].any():
        return None
    ends = [np.flatnonzero(line)[[0, -1]] for line in lines]
    return Box(tuple(int(first) for first, _ in ends), tuple(int(last) + 1 for _, last in ends))


def voxels_of(length_mm: float, spacing_mm: float) -> int:
    """The voxels that reach at least so far."""
    return math.ceil(length_mm / spacing_mm - 1e-9)  # 3 mm are 10 voxels of 0.3 mm, not 11


def with_margin(box: Box, margin_mm: float, grid: Geometry) -> Box:
    """The box with a margin of at least so many mm on every side, cut off at the scan."""
    steps = [(face, voxels_of(margin_mm, grid.spacing[face.axis])) for face in box.faces]
    return box.moved(steps, grid.shape)


def jittered(box: Box, inner: Box, jitter_mm: float, grid: Geometry, generator: np.random.Generator) -> Box:
    """The box with each face moved in or out at random, as the boxes of a coarse model vary.

    Args:
        box: with its margin.
        inner: what must stay inside, the bounding box of the organ.
        jitter_mm: a face moves so far at most.
        grid: the scan's.
        generator: of random numbers.
    """
    steps = []
    for face in box.faces:
        most = int(jitter_mm / grid.spacing[face.axis] + 1e-9)
        room = _distance(box, inner, face)
        steps.append((face, max(int(generator.integers(-most, most + 1)), -room)))
    return box.moved(steps, grid.shape)


def _distance(box: Box, inner: Box, face: Face) -> int:
    """Voxels by which a face may move inwards before it cuts what is inside."""
    if face.at_end:
        return box.stop[face.axis] - inner.stop[face.axis]
    return inner.start[face.axis] - box.start[face.axis]


def generator_of(seed: int, case_id: str) -> np.random.Generator:
    """Random numbers of one case: the same whatever other cases there are, and in whichever order."""
    digest = hashlib.sha256(f"{seed}/{case_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def describe_box(box: Box, grid: Geometry) -> dict[str, Any]:
    """A box as records tell it: voxels, mm and its share of the scan."""
    return {
        "start": list(box.start),
        "stop": list(box.stop),
        "size_mm": [round(mm, 3) for mm in box.size_mm(grid.spacing)],
        "share_of_scan": round(box.n_voxels / math.prod(grid.shape), 6),
    }


MAX_GROWTHS = 3
LEAST_STEP_MM = 10.0


def touched_faces(organ: Mask, box: Box, shape: Sequence[int]) -> tuple[Face, ...]:
    """The faces of a box that an organ within it reaches, where the scan goes on beyond them.

    Args:
        organ: within the box alone.
        box: where it lies in the scan.
        shape: of the scan.
    """
    return tuple(
        face
        for face in box.faces
        if not box.is_at_border(face, shape) and organ.take(-1 if face.at_end else 0, axis=face.axis).any()
    )


def grown(box: Box, faces: Sequence[Face], step_mm: float, grid: Geometry) -> Box:
    """The box with these faces moved outwards by at least so many mm, cut off at the scan."""
    return box.moved([(face, voxels_of(step_mm, grid.spacing[face.axis])) for face in faces], grid.shape)


def step_mm(margin_mm: float, n_growths: int) -> float:
    """How far faces move after so many growths: the margin, 10 mm at least, and twice as far each time."""
    return max(margin_mm, LEAST_STEP_MM) * 2.0**n_growths
