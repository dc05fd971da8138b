"""Placement of an array of nnU-Net's reader in the file of the scan.

Most of nnU-Net's readers keep the file's axes; those called `…WithReorient` turn scans to RAS, and so do the
probabilities predicted from them. Segmentations, references and scans are files: whatever is told of
probabilities is told on the file's axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch, ProbabilitiesError
from nnunet_ext.images.geometry import Geometry

STRAIGHT_READERS = frozenset({"SimpleITKIO", "NibabelIO", "Tiff3DIO", "NaturalImage2DIO"})
TURNING_READERS = frozenset({"SimpleITKIOWithReorient", "NibabelIOWithReorient"})
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
RAS_OF_LETTERS = {"R": (0, 1.0), "L": (0, -1.0), "A": (1, 1.0), "P": (1, -1.0), "S": (2, 1.0), "I": (2, -1.0)}
TOLERANCE = 1e-2  # of a voxel
OF_PREPROCESSING = {
    "shape_before_cropping", "bbox_used_for_cropping", "shape_after_cropping_and_before_resampling",
    "class_locations",
}  # fmt: skip
OF_SITK = {"spacing", "origin", "direction"}
ORIENTATION = "original_orientation"
Item = TypeVar("Item", bound=np.generic)


@dataclass(frozen=True)
class Turn:
    """The turn of the axes of a reader's array to those of the file.

    Attributes:
        axes: for each axis of the file's array, `(z, y, x)`, the axis of the reader's.
        flipped: for each axis of the file's array, whether the reader's runs the other way.
    """

    axes: tuple[int, ...] = (0, 1, 2)
    flipped: tuple[bool, ...] = (False, False, False)


@dataclass(frozen=True)
class Placement:
    """The placement of a reader's array in a scan's file.

    Attributes:
        file: grid of the scan's file; 2D where the file is, though readers give 2D scans a first axis.
        turn: the turn from the reader's array to the file's.
    """

    file: Geometry
    turn: Turn = Turn()

    @property
    def shape(self) -> tuple[int, ...]:
        """`(Z, Y, X)` of the reader's array."""
        of_file = as_volume(self.file.shape)
        return tuple(of_file[self.turn.axes.index(axis)] for axis in range(3))

    def to_file(self, array: NDArray[Item]) -> NDArray[Item]:
        """Turn an array of the reader, `(Z, Y, X)`, to the axes of the file; of a 2D file `(1, Y, X)`."""
        of_reader = array.reshape(as_volume(array.shape))
        return np.ascontiguousarray(np.flip(of_reader.transpose(self.turn.axes), self._flipped))

    def to_reader(self, array: NDArray[Item]) -> NDArray[Item]:
        """Turn an array of the file, `(Z, Y, X)` or `(Y, X)`, to the axes of the reader, `(Z, Y, X)`."""
        of_file = array.reshape(as_volume(array.shape))
        return np.ascontiguousarray(np.flip(of_file, self._flipped).transpose(np.argsort(self.turn.axes)))

    def voxels_in_file(self, voxels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Convert C-order indices of voxels of the reader's array to those of the file's array."""
        if self.turn == Turn():
            return voxels
        places = np.unravel_index(voxels, self.shape)
        shape = tuple(self.shape[axis] for axis in self.turn.axes)
        turned = [
            size - 1 - places[axis] if flipped else places[axis]
            for size, axis, flipped in zip(shape, self.turn.axes, self.turn.flipped, strict=True)
        ]
        return np.ravel_multi_index(turned, shape).astype(np.int64)

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis for axis, flipped in enumerate(self.turn.flipped) if flipped)


def as_volume(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape with three axes at least: that of a plane is `(1, Y, X)`."""
    return (1,) * (3 - len(shape)) + tuple(int(size) for size in shape)


def placement_of_properties(properties: Mapping[str, Any], shape: Sequence[int]) -> Placement | None:
    """Find the placement of a reader's array from the properties that the reader returned with it.

    Args:
        properties: properties that any of nnU-Net's own readers returned.
        shape: `(Z, Y, X)` of the array; properties do not hold it.

    Returns:
        None where the properties do not tell, contradict themselves, or are of somebody else's reader.

    Raises:
        ProbabilitiesError: they are not what nnU-Net's readers give.
    """
    try:
        placement = _placement(properties, tuple(int(size) for size in shape))
    except (LookupError, TypeError, ValueError, AttributeError, np.linalg.LinAlgError) as error:
        reason = f"the properties tell no grid as nnU-Net's readers do: {error!r}."
        raise ProbabilitiesError(reason) from error
    if placement is not None and not _is_valid_grid(placement.file):
        raise ProbabilitiesError(f"the properties tell a grid that cannot be: {placement.file}.")
    return placement


def _is_valid_grid(grid: Geometry) -> bool:
    """Return whether a grid's numbers are finite and of the right count, and its spacing is above 0."""
    n = len(grid.shape)
    numbers = (*grid.spacing, *grid.origin, *grid.direction)
    counts = (len(grid.spacing), len(grid.origin), len(grid.direction))
    return counts == (n, n, n * n) and all(map(math.isfinite, numbers)) and min(grid.spacing) > 0


def _placement(properties: Mapping[str, Any], shape: tuple[int, ...]) -> Placement | None:
    if set(properties.get("sitk_stuff", ())) >= OF_SITK:
        itk = properties["sitk_stuff"]
        return _of_sitk(itk, shape) if set(itk) <= {*OF_SITK, ORIENTATION} else None
    if "original_affine" in properties.get("nibabel_stuff", ()):
        return _of_nibabel(properties["nibabel_stuff"], shape)
    if set(properties) - OF_PREPROCESSING == {"spacing"}:
        return Placement(_geometry_of_spacing([float(s) for s in properties["spacing"]], shape))
    return None


def straight_geometry(properties: Mapping[str, Any], shape: Sequence[int]) -> Geometry | None:
    """Return the scan's grid where the reader kept the axes of its file; None where it turned them."""
    placement = placement_of_properties(properties, shape)
    return placement.file if placement is not None and placement.turn == Turn() else None


def placement_by_reader(reader: str, file: Geometry) -> Placement:
    """Find the placement of the array that one of nnU-Net's readers makes of a file.

    Args:
        reader: name of its class.
        file: grid of the file.

    Raises:
        GeometryMismatch: it is none of nnU-Net's own, and nobody knows how it turns scans.
    """
    if reader in STRAIGHT_READERS or (reader in TURNING_READERS and len(file.shape) == 2):
        return Placement(file)
    if reader in TURNING_READERS:
        return Placement(file, _turn_to_ras(file))
    raise GeometryMismatch(
        f"the reader {reader} is none of nnU-Net's own: how its arrays lie in the scan's file is not known "
        "here. Predict with `nnunet_ext predict`, which writes with that reader."
    )


def _of_sitk(itk: Mapping[str, Any], shape: tuple[int, ...]) -> Placement | None:
    spacing = tuple(float(s) for s in itk["spacing"])
    array = Geometry(
        shape[-len(spacing) :],
        spacing[::-1],
        tuple(float(o) for o in itk["origin"]),
        tuple(float(d) for d in itk["direction"]),
    )
    if ORIENTATION not in itk:
        return Placement(array)
    matrix = np.zeros((3, 3))  # from the array, which is in RAS, to the file's axes x, y and z
    for axis, letter in enumerate(itk[ORIENTATION]):
        of_ras, sense = RAS_OF_LETTERS[letter]
        matrix[axis, of_ras] = sense
    if not _is_turn(matrix):
        return None
    turn = _as_turn(matrix)
    return Placement(_turned_geometry(array, turn), turn)


def _of_nibabel(nibabel: Mapping[str, Any], shape: tuple[int, ...]) -> Placement | None:
    of_file = np.asarray(nibabel["original_affine"], np.float64).reshape(4, 4)
    if "reoriented_affine" not in nibabel:
        return Placement(_geometry_of_affine(of_file, shape))
    of_array = np.asarray(nibabel["reoriented_affine"], np.float64).reshape(4, 4)
    between = np.linalg.solve(of_file, of_array)  # from an index of the array to one of the file
    if not _is_turn(between[:3, :3]):
        return None
    turn = _as_turn(between[:3, :3])
    shape = tuple(shape[axis] for axis in turn.axes)
    starts = [size - 1 if flipped else 0 for size, flipped in zip(shape, turn.flipped, strict=True)]
    if np.abs(between[:3, 3] - starts[::-1]).max() > TOLERANCE:
        return None
    return Placement(_geometry_of_affine(of_file, shape), turn)


def _is_turn(matrix: NDArray[np.floating[Any]]) -> bool:
    """Return whether a matrix turns indices `(x, y, z)` by right angles, or mirrors them."""
    rounded = np.abs(np.rint(matrix))
    is_permutation = (rounded.sum(axis=0) == 1).all() and (rounded.sum(axis=1) == 1).all()
    return bool(is_permutation and np.abs(np.abs(matrix) - rounded).max() <= TOLERANCE)


def _as_turn(matrix: NDArray[np.floating[Any]]) -> Turn:
    """Return the turn that such a matrix makes, from an array's indices `(x, y, z)` to the file's."""
    axes = np.abs(matrix).argmax(axis=1)
    flipped = [bool(matrix[row, axis] < 0) for row, axis in enumerate(axes)]
    return Turn(tuple(2 - int(axis) for axis in axes[::-1]), tuple(flipped[::-1]))


def _turn_to_ras(file: Geometry) -> Turn:
    """Return the turn from RAS back to a file's axes, each matched with the nearest axis of the scanner.

    Source: `io_orientation` of nibabel, whose strongest axis chooses first.
    """
    cosines = LPS_TO_RAS @ np.asarray(file.direction, np.float64).reshape(3, 3)
    matrix = np.zeros((3, 3))
    for axis in np.argsort(-np.abs(cosines).max(axis=0), kind="stable"):
        left = np.where(matrix.any(axis=0), 0.0, np.abs(cosines[:, axis]))
        nearest = int(left.argmax())
        matrix[axis, nearest] = math.copysign(1.0, cosines[nearest, axis])
    return _as_turn(matrix)


def _turned_geometry(array: Geometry, turn: Turn) -> Geometry:
    """Return the grid of the file whose axes are those of an array, turned."""
    columns = np.asarray(array.direction, np.float64).reshape(3, 3)
    origin = np.asarray(array.origin, np.float64)
    directions = []
    for axis, flipped in zip(turn.axes, turn.flipped, strict=True):
        column = columns[:, 2 - axis]
        if flipped:
            origin = origin + column * array.spacing[axis] * (array.shape[axis] - 1)
        directions.append(-column if flipped else column)
    return Geometry(
        tuple(array.shape[axis] for axis in turn.axes),
        tuple(array.spacing[axis] for axis in turn.axes),
        tuple(float(o) for o in origin),
        tuple(float(d) + 0.0 for d in np.stack(directions[::-1], axis=1).ravel()),
    )


def _geometry_of_affine(affine: NDArray[np.float64], shape: tuple[int, ...]) -> Geometry:
    # nibabel's world is right-anterior-superior, ITK's left-posterior-superior: x and y change sign.
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    return Geometry(
        shape,
        tuple(float(s) for s in spacing[::-1]),
        tuple(float(o) for o in lps[:3, 3]),
        tuple(float(d) for d in direction.ravel()),
    )


def _geometry_of_spacing(spacing: list[float], shape: tuple[int, ...]) -> Geometry:
    is_flat = shape[0] == 1 and math.isclose(spacing[0], 999)  # as NaturalImage2DIO returns it
    return Geometry.of_array(shape[1:], spacing[1:]) if is_flat else Geometry.of_array(shape, spacing)
