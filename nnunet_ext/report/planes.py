"""Choice of the slices that an overlay shows: three planes through a volume, or a montage of a thin stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

THICK = 3.0  # as in nnU-Net: a slice is thick where it is more than so many pixels of the slice
FEW_SLICES = 24  # of thick slices; planes across so few of them are strips
MOST_SLICES = 11  # of a montage, beside the bare scan
MARGIN_MM, MARGIN_SHARE = 10.0, 0.15  # around the labels of a montage

Image = NDArray[Any]
Spacing = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A part of one slice of a case.

    Attributes:
        axis: the axis across the slice.
        index: the slice's index along that axis.
        spacing_mm: size of a pixel as `(down, right)`.
        part: the rows and columns of the slice that are shown, from first to beyond the last.
        is_bare: whether the scan is shown alone, without contours.
        note: the slice's number, to be written on it; empty for none.
    """

    axis: int
    index: int
    spacing_mm: tuple[float, float]
    part: tuple[tuple[int, int], tuple[int, int]]
    is_bare: bool = False
    note: str = ""

    def of(self, volume: Image) -> Image:
        """The part of a volume in this plane; across the stack, the last slice is on top."""
        (top, bottom), (left, right) = self.part
        image = volume.take(self.index, axis=self.axis)[top:bottom, left:right]
        return image if self.axis == 0 else image[::-1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the plane."""
        rows, columns = self.part
        return rows[1] - rows[0], columns[1] - columns[0]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width of the plane."""
        return self.shape[0] * self.spacing_mm[0], self.shape[1] * self.spacing_mm[1]


Lines = list[list[Plane]]


def choose_planes(shown: Image, drawn: Image, spacing_mm: Spacing, n_columns: int) -> Lines:
    """Choose the planes of a case: lines of planes below each other, the bare scan first.

    A stack of few thick slices becomes a montage of its slices, cut to the labels. Any other volume is shown
    in three planes, and an image of one slice in that plane.

    Args:
        shown: mask `(Z, Y, X)` whose voxels the planes should hold most of, such as wrong ones.
        drawn: mask of all voxels that lie within a contour.
        spacing_mm: `(z, y, x)`.
        n_columns: the most slices of a montage beside each other.
    """
    axis = thin_axis(shown.shape, spacing_mm)
    if axis is not None:
        return _montage(shown, drawn, spacing_mm, axis, n_columns)
    axes = range(3) if shown.shape[0] > 1 else range(1)
    planes = [_whole_plane(shown.shape, spacing_mm, axis, largest_slice(shown, axis)) for axis in axes]
    bare = _whole_plane(shown.shape, spacing_mm, 0, planes[0].index, is_bare=True)
    return [[bare, *planes]]


def thin_axis(shape: tuple[int, ...], spacing_mm: Spacing) -> int | None:
    """The axis of a stack of few thick slices; None where a volume is no such stack."""
    axis = int(np.argmax(spacing_mm))
    others = [spacing_mm[other] for other in range(3) if other != axis]
    is_thin = spacing_mm[axis] > THICK * max(others) and 1 < shape[axis] <= FEW_SLICES
    return axis if is_thin else None


def largest_slice(mask: Image, axis: int) -> int:
    """Index of the slice with the most voxels of a mask; the middle slice of an empty mask."""
    areas = mask.sum(axis=_others(axis))
    return int(areas.argmax()) if areas.any() else mask.shape[axis] // 2


def _others(axis: int) -> tuple[int, int]:
    down, right = (other for other in range(3) if other != axis)
    return down, right


def _whole_plane(
    shape: tuple[int, ...], spacing_mm: Spacing, axis: int, index: int, *, is_bare: bool = False
) -> Plane:
    down, right = _others(axis)
    part = (0, shape[down]), (0, shape[right])
    size = spacing_mm[down], spacing_mm[right]
    return Plane(axis=axis, index=index, spacing_mm=size, part=part, is_bare=is_bare)


def _montage(shown: Image, drawn: Image, spacing_mm: Spacing, axis: int, n_columns: int) -> Lines:
    n_slices = drawn.shape[axis]
    down, right = _others(axis)
    held_along = [np.asarray(drawn.any(axis=_others(one))) for one in range(3)]
    parts = _cut(held_along[down], spacing_mm[down]), _cut(held_along[right], spacing_mm[right])
    largest = largest_slice(shown, axis)

    def tile(index: int, *, is_bare: bool = False) -> Plane:
        return Plane(
            axis=axis,
            index=index,
            spacing_mm=(spacing_mm[down], spacing_mm[right]),
            part=parts,
            is_bare=is_bare,
            note=f"{index + 1} of {n_slices}{', scan' if is_bare else ''}",
        )

    tiles = [tile(largest, is_bare=True), *map(tile, chosen_slices(held_along[axis], largest))]
    n_lines = -(-len(tiles) // n_columns)
    width = -(-len(tiles) // n_lines)
    return [tiles[start : start + width] for start in range(0, len(tiles), width)]


def chosen_slices(holds_label: Image, largest: int) -> list[int]:
    """All slices of a stack where these are few, else an even choice from the first to the last with a label.

    Args:
        holds_label: for each slice, whether it holds a label.
        largest: a slice that is chosen in any case.
    """
    n_slices = len(holds_label)
    if n_slices <= MOST_SLICES:
        return list(range(n_slices))
    held = np.flatnonzero(holds_label)
    first, last = (int(held[0]), int(held[-1])) if len(held) else (0, n_slices - 1)
    room = MOST_SLICES - (last - first + 1)
    if room > 0:  # slices beside the labels
        first = min(max(0, first - room // 2), n_slices - MOST_SLICES)
        return list(range(first, first + MOST_SLICES))
    even = np.linspace(first, last, MOST_SLICES).round().astype(int)
    inner = even[1:-1]
    if largest not in even:
        inner[np.abs(inner - largest).argmin()] = largest
    return even.tolist()


def _cut(holds_label: Image, spacing_mm: float) -> tuple[int, int]:
    """The first row or column that is shown, and that beyond the last: those with labels, and a margin."""
    held = np.flatnonzero(holds_label)
    if not len(held):
        return 0, len(holds_label)
    margin = max(MARGIN_MM / spacing_mm, MARGIN_SHARE * (held[-1] - held[0] + 1))
    return max(0, int(held[0] - margin)), min(len(holds_label), int(np.ceil(held[-1] + 1 + margin)))
