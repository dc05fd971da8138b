"""What nnU-Net's plans name as their functions of resampling, and ours in place of its default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from nnunetv2.configuration import ANISO_THRESHOLD
from nnunetv2.preprocessing.resampling.default_resampling import (
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from numpy.typing import NDArray

from nnunet_ext.resampling.segmentations import resample_segmentation
from nnunet_ext.resampling.volumes import Grid, ResampledVolumes

Resample = Callable[..., Any]  # of volumes, new shape, spacing, new spacing


@dataclass(frozen=True)
class DefaultResampling:
    """nnU-Net's default function of resampling, `resample_data_or_seg_to_shape`, computed by matrices.

    The attributes are that function's arguments, with its names and defaults.

    Attributes:
        is_seg: whether it resamples label maps.
        order: of the spline in the plane, or along all axes.
        order_z: of the spline along the thick axis.
        force_separate_z: whether the thick axis is resampled by itself; None where the spacings decide.
        separate_z_anisotropy_threshold: ratio of the spacings above which they decide for it.
    """

    is_seg: bool = False
    order: int = 3
    order_z: int = 0
    force_separate_z: bool | None = False
    separate_z_anisotropy_threshold: float = ANISO_THRESHOLD

    def grid(
        self,
        shape: Sequence[int],
        new_shape: Sequence[int],
        spacing: Sequence[float],
        new_spacing: Sequence[float],
    ) -> Grid:
        """Tell how volumes of one shape and spacing become such of another."""
        is_separate, axis = determine_do_sep_z_and_axis(
            self.force_separate_z, spacing, new_spacing, self.separate_z_anisotropy_threshold
        )
        thick_axis = int(axis) if is_separate else None
        return Grid.between(
            shape, new_shape, order=self.order, thick_axis=thick_axis, order_thick=self.order_z
        )

    def __call__(
        self,
        data: NDArray[Any] | torch.Tensor,
        new_shape: Sequence[int],
        current_spacing: Sequence[float],
        new_spacing: Sequence[float],
    ) -> NDArray[Any]:
        """Resample all channels, as nnU-Net calls it.

        Args:
            data: `(C, X, Y, Z)`.
            new_shape: `(X', Y', Z')`.
            current_spacing: mm, of each axis.
            new_spacing: mm, of each axis.

        Returns:
            `(C, X', Y', Z')` of the type of `data`.
        """
        array: NDArray[Any] = np.asarray(data)
        if tuple(array.shape[1:]) == tuple(new_shape):
            return array
        if not self._is_ours(array):
            return self._nnunets(array, new_shape, current_spacing, new_spacing)
        grid = self.grid(array.shape[1:], new_shape, current_spacing, new_spacing)
        if self.is_seg:
            return np.stack([resample_segmentation(one, grid) for one in array])
        result = np.empty((len(array), *grid.new_shape), array.dtype)
        for channel, volume in zip(result, torch.from_numpy(np.ascontiguousarray(array)), strict=True):
            channel[...] = ResampledVolumes(volume[None], grid).whole()[0].numpy()
        return result

    def _is_ours(self, array: NDArray[Any]) -> bool:
        """Whether matrices compute the same: no splines of labels, finite values, no double precision."""
        if self.is_seg:
            return self.order <= 1 and self.order_z == 0
        return array.dtype in (np.float16, np.float32) and bool(np.isfinite(array).all())

    def _nnunets(self, array: NDArray[Any], *arguments: Sequence[Any]) -> NDArray[Any]:
        result: NDArray[Any] = resample_data_or_seg_to_shape(
            array,
            *arguments,
            is_seg=self.is_seg,
            order=self.order,
            order_z=self.order_z,
            force_separate_z=self.force_separate_z,
            separate_z_anisotropy_threshold=self.separate_z_anisotropy_threshold,
        )
        return result


def by_matrices(function: Resample) -> Resample:
    """Return ours in place of nnU-Net's default function; another function as it is.

    Args:
        function: as `ConfigurationManager` gives it, with the plans' arguments.
    """
    if isinstance(function, partial) and function.func is resample_data_or_seg_to_shape and not function.args:
        return DefaultResampling(**function.keywords)
    return function


class FastConfiguration(ConfigurationManager):
    """A configuration of nnU-Net's plans, whose default functions of resampling are computed by matrices."""

    @cached_property
    def resampling_fn_data(self) -> Resample:
        """The function for images."""
        return by_matrices(super().resampling_fn_data)

    @cached_property
    def resampling_fn_seg(self) -> Resample:
        """The function for label maps."""
        return by_matrices(super().resampling_fn_seg)

    @cached_property
    def resampling_fn_probabilities(self) -> Resample:
        """The function for logits."""
        return by_matrices(super().resampling_fn_probabilities)
