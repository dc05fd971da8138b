"""Images and logits resampled as nnU-Net's default functions do, any box of them alone.

Source: `resample_data_or_seg` of nnU-Net.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nnunet_ext.resampling.operators import AxisOperator, apply_along, resize_operator, thick_axis_operator

CACHE_BYTES = 1 << 22  # volumes are resampled together as long as a part of them in single precision fits
OVERSHOOTING = 2  # splines of this order and above leave the range of their input
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """How volumes `(X, Y, Z)` are resampled: an operator for each axis.

    Attributes:
        operators: of the three axes.
        order: of the spline in the plane, or along all axes.
        thick_axis: the axis that is resampled by itself, after the planes across it; or None.
    """

    operators: tuple[AxisOperator, AxisOperator, AxisOperator]
    order: int
    thick_axis: int | None

    @classmethod
    def between(
        cls,
        shape: Sequence[int],
        new_shape: Sequence[int],
        *,
        order: int,
        thick_axis: int | None = None,
        order_thick: int = 0,
    ) -> Grid:
        """From one shape to another.

        Args:
            shape: `(X, Y, Z)` before.
            new_shape: and after.
            order: of the spline in the plane, or along all axes.
            thick_axis: the axis to resample by itself.
            order_thick: of the spline along it.
        """
        first, second, third = (
            thick_axis_operator(int(n_in), int(n_out), order_thick)
            if axis == thick_axis
            else resize_operator(int(n_in), int(n_out), order)
            for axis, (n_in, n_out) in enumerate(zip(shape, new_shape, strict=True))
        )
        return cls((first, second, third), order, thick_axis)

    @property
    def is_identity(self) -> bool:
        """Whether volumes stay as they are."""
        return all(operator.is_identity for operator in self.operators)

    @property
    def new_shape(self) -> tuple[int, int, int]:
        """Shape of a resampled volume."""
        first, second, third = self.operators
        return first.n_out, second.n_out, third.n_out


class ResampledVolumes:
    """Volumes of one grid, of which any box is had on another.

    Args:
        volumes: `(C, X, Y, Z)`, finite, of any floating type, on the CPU or a GPU, where boxes are made, too.
        grid: from the volumes' shape to the wanted one.
    """

    def __init__(self, volumes: torch.Tensor, grid: Grid) -> None:
        self._volumes, self._grid = volumes, grid
        self._range: tuple[torch.Tensor, torch.Tensor] | None = None
        if grid.order >= OVERSHOOTING:
            # skimage clips to the range of what it is given: a volume, or a plane of it.
            axes = [axis + 1 for axis in range(3) if axis != grid.thick_axis]
            self._range = volumes.amin(axes, keepdim=True).float(), volumes.amax(axes, keepdim=True).float()

    def whole(self) -> torch.Tensor:
        """Make all: `(C, X', Y', Z')`, of the type of the volumes."""
        first, second, third = self._grid.new_shape
        return self.box((slice(0, first), slice(0, second), slice(0, third)))

    def box(self, box: Box) -> torch.Tensor:
        """Make a part.

        Args:
            box: start and stop of each axis on the new grid, neither None.

        Returns:
            `(C, X', Y', Z')` of the box, computed in single precision, of the type of the volumes.
        """
        shape = [part.stop - part.start for part in box]
        result = self._volumes.new_empty((len(self._volumes), *shape))
        at_once = max(1, CACHE_BYTES // (torch.float.itemsize * max(1, math.prod(shape))))
        for start in range(0, len(result), at_once):
            some = slice(start, start + at_once)
            result[some] = self._box_of(some, box)
        return result

    def _box_of(self, channels: slice, box: Box) -> torch.Tensor:
        """Make a part of some of the volumes, in single precision."""
        parts = [
            operator.part(wanted.start, wanted.stop)
            for operator, wanted in zip(self._grid.operators, box, strict=True)
        ]
        needed = [places for places, _ in parts]
        operators = [operator for _, operator in parts]
        along_x, along_y, along_z = needed
        volumes = self._volumes[channels, along_x, along_y, along_z].float()
        thick = self._grid.thick_axis
        in_plane = [axis for axis in range(3) if axis != thick]
        # What shrinks most comes first: less is left to do.
        for axis in sorted(in_plane, key=lambda axis: operators[axis].growth):
            volumes = apply_along(operators[axis], volumes, axis + 1)
        if self._range is not None:
            low, high = (limit[channels] for limit in self._range)
            if thick is not None:
                low, high = (
                    limit.narrow(thick + 1, needed[thick].start, operators[thick].n_in)
                    for limit in (low, high)
                )
            volumes = volumes.clamp(low, high)
        return volumes if thick is None else apply_along(operators[thick], volumes, thick + 1)
