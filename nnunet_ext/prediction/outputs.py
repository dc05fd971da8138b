"""What a network puts out for a scan: logits on its own grid, of which any planes of the scan are had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from numpy.typing import NDArray

from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.prediction.models import LoadedModel
from nnunet_ext.resampling.functions import DefaultResampling, by_matrices
from nnunet_ext.resampling.volumes import Box, ResampledVolumes

REGION_THRESHOLD = 0.5
HIGHEST_OF_ONE_BYTE = 255


class _Boxes(Protocol):
    """Volumes on the grid of the cropped scan, of which any box is had."""

    def box(self, box: Box) -> torch.Tensor:
        """Return `(L, X, Y, Z)` of a box."""
        ...


class _Whole:
    """Volumes that were resampled as a whole, by a function that is not nnU-Net's default."""

    def __init__(self, volumes: torch.Tensor) -> None:
        self._volumes = volumes

    def box(self, box: Box) -> torch.Tensor:
        """Return `(L, X, Y, Z)` of a box."""
        along_x, along_y, along_z = box
        return self._volumes[:, along_x, along_y, along_z]


class NetworkOutput:
    """The logits of one pass, resampled to the scan's grid plane by plane.

    Values are those of nnU-Net, which resamples all at once and keeps them in the type of the logits.

    Args:
        model: the model that computed the logits.
        logits: `(L, X, Y, Z)` on the network's grid.
        properties: nnU-Net's properties of the prepared scan.

    Source: `convert_predicted_logits_to_segmentation_with_correct_shape` of nnU-Net.
    """

    def __init__(self, model: LoadedModel, logits: NDArray[Any], properties: dict[str, Any]) -> None:
        plans, configuration = model.predictor.plans_manager, model.predictor.configuration_manager
        self._labels = model.predictor.label_manager
        self._backward = tuple(plans.transpose_backward)
        self._whole_shape = tuple(properties["shape_before_cropping"])
        self._crop = [slice(first, stop) for first, stop in properties["bbox_used_for_cropping"]]
        shape = tuple(properties["shape_after_cropping_and_before_resampling"])
        spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
        own = _spacing_of_all_axes(configuration.spacing, spacing)
        resample = by_matrices(configuration.resampling_fn_probabilities)
        self._volumes: _Boxes
        if isinstance(resample, DefaultResampling):
            grid = resample.grid(logits.shape[1:], shape, own, spacing)
            self._volumes = ResampledVolumes(torch.from_numpy(logits), grid)
        else:
            self._volumes = _Whole(torch.as_tensor(resample(logits, shape, own, spacing)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the scan, `(Z, Y, X)`."""
        return tuple(self._whole_shape[axis] for axis in self._backward)

    def probabilities(self, planes: slice) -> torch.Tensor:
        """Compute the probabilities of some planes of the scan.

        Outside of the box that nnU-Net crops a scan to, all is background; regions have no background.

        Args:
            planes: start and stop along the scan's first axis.

        Returns:
            `(L, planes, Y, X)`, single precision.
        """
        place, box = self._within(planes)
        n_labels, shape = self._labels.num_segmentation_heads, self._shape_of(planes)
        if box is not None:
            within = self._labels.apply_inference_nonlin(self._logits(box))
            if within.shape[1:] == shape:
                return self._turned(within)
        whole = torch.zeros((n_labels, *shape))
        if not self._labels.has_regions:
            whole[0] = 1
        if box is not None:
            along_x, along_y, along_z = place
            whole[:, along_x, along_y, along_z] = within
        return self._turned(whole)

    def segmentation(self, planes: slice, labels: Labels) -> torch.Tensor:
        """Decide some planes by these logits alone, as nnU-Net does.

        Args:
            planes: start and stop along the scan's first axis.
            labels: the labels that the channels stand for.

        Returns:
            `(planes, Y, X)`.
        """
        place, box = self._within(planes)
        whole = torch.zeros((1, *self._shape_of(planes)), dtype=type_of(labels))
        if box is not None:
            logits = self._logits(box)
            scores = self._labels.apply_inference_nonlin(logits) if labels.is_regions else logits
            along_x, along_y, along_z = place
            whole[0, along_x, along_y, along_z] = decide_planes(scores, labels)
        return self._turned(whole)[0]

    def _logits(self, box: Box) -> torch.Tensor:
        """Logits of a box of the cropped scan, rounded to half precision as nnU-Net keeps them."""
        return self._volumes.box(box).float()

    def _within(self, planes: slice) -> tuple[list[slice], Box | None]:
        """Where the cropped scan's part of some planes lies: among the planes, and in the cropped scan."""
        axis = self._backward[0]
        crop = self._crop[axis]
        first, stop = max(planes.start, crop.start), min(planes.stop, crop.stop)
        place = list(self._crop)
        place[axis] = slice(first - planes.start, stop - planes.start)
        box = [slice(0, part.stop - part.start) for part in self._crop]
        box[axis] = slice(first - crop.start, stop - crop.start)
        along_x, along_y, along_z = box
        return place, (along_x, along_y, along_z) if first < stop else None

    def _shape_of(self, planes: slice) -> tuple[int, ...]:
        """Shape of some planes, on the network's axes."""
        shape = list(self._whole_shape)
        shape[self._backward[0]] = planes.stop - planes.start
        return tuple(shape)

    def _turned(self, volumes: torch.Tensor) -> torch.Tensor:
        """From the network's axes to those of the scan."""
        return volumes.permute(0, *(axis + 1 for axis in self._backward))


def shape_on_network(model: LoadedModel, shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """The shape of a scan on a network's grid, if nothing is cropped.

    Args:
        model: the model.
        shape: `(Z, Y, X)` of the scan.
        spacing: mm, of each axis of the scan.
    """
    plans, configuration = model.predictor.plans_manager, model.predictor.configuration_manager
    turned = [spacing[axis] for axis in plans.transpose_forward]
    own = _spacing_of_all_axes(configuration.spacing, turned)
    new_shape = compute_new_shape([shape[axis] for axis in plans.transpose_forward], turned, own)
    return tuple(int(length) for length in new_shape)


def _spacing_of_all_axes(own: Sequence[float], spacing: Sequence[float]) -> list[float]:
    """The spacing of a network's grid; one of planes leaves that of the first axis as it is."""
    return list(own) if len(own) == len(spacing) else [spacing[0], *own]


def type_of(labels: Labels) -> torch.dtype:
    """The integers that hold all labels."""
    return torch.uint8 if max(labels.values) <= HIGHEST_OF_ONE_BYTE else torch.int32


def decide_planes(scores: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Choose a label for each voxel; otherwise as `nnunet_ext.ensemble.fusion.decide`.

    Args:
        scores: `(L, …)`; it is not changed.
        labels: the labels that the channels stand for.

    Returns:
        `(…)`, of `type_of(labels)`.
    """
    segmentation = torch.zeros(scores.shape[1:], dtype=type_of(labels))
    if labels.is_regions:
        for value, of_region in zip(labels.values, scores, strict=True):
            segmentation.masked_fill_(of_region > REGION_THRESHOLD, value)
        return segmentation
    best = scores[0].clone()
    segmentation += labels.values[0]
    for value, of_label in zip(labels.values[1:], scores[1:], strict=True):
        segmentation.masked_fill_(of_label > best, value)
        torch.maximum(best, of_label, out=best)
    return segmentation


def as_array(segmentation: torch.Tensor) -> NDArray[np.integer[Any]]:
    """The segmentation as numpy's uint8 or uint16."""
    array: NDArray[np.integer[Any]] = segmentation.numpy()
    return array if array.dtype == np.uint8 else array.astype(np.uint16)
