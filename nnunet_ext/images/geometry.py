"""The grid of an image: shape, spacing, origin and direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Geometry:
    """The grid of a 3D or 2D image.

    Attributes:
        shape: voxels in the array's axis order, `(z, y, x)` or `(y, x)`.
        spacing: mm a voxel in the array's axis order.
        origin: mm, centre of the first voxel, in ITK's order `(x, y, z)`.
        direction: cosines in ITK's order, row by row, 9 or 4 numbers.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of_array(cls, shape: Sequence[int], spacing: Sequence[float] | None = None) -> Geometry:
        """A grid at the origin, whose axes are the scanner's; its spacing is 1 mm unless given."""
        n = len(shape)
        return cls(
            tuple(int(size) for size in shape),
            tuple(float(s) for s in spacing) if spacing is not None else (1.0,) * n,
            (0.0,) * n,
            tuple(float(row == column) for row in range(n) for column in range(n)),
        )

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm3; of a 2D grid the area of a pixel in mm2."""
        return math.prod(self.spacing)

    def differences(self, other: Geometry, tolerance: float = TOLERANCE) -> list[str]:
        """The properties in which two grids differ, each with both values; empty where they agree.

        Args:
            other: the grid to compare with.
            tolerance: largest difference of spacing and origin in mm, and of direction cosines, that counts
                as equal, since file formats round to single precision.
        """
        found = []
        if self.shape != other.shape:
            found.append(f"shape {self.shape} and {other.shape}")
        for name in ("spacing", "origin", "direction"):
            mine, its = getattr(self, name), getattr(other, name)
            if len(mine) != len(its) or any(abs(a - b) > tolerance for a, b in zip(mine, its, strict=True)):
                found.append(f"{name} {' and '.join(_distinct_texts(mine, its))}")
        return found


def _distinct_texts(mine: Sequence[float], its: Sequence[float]) -> tuple[str, str]:
    """Both values with the fewest digits, at least six, with which the texts differ."""
    for n_digits in range(6, 17):
        texts = _with_digits(mine, n_digits), _with_digits(its, n_digits)
        if texts[0] != texts[1]:
            break
    return texts


def _with_digits(values: Sequence[float], n_digits: int) -> str:
    # + 0.0 makes 0 of -0
    return "(" + ", ".join(f"{value + 0.0:.{n_digits}g}" for value in values) + ")"
