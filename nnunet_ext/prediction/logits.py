"""Convert a network's logits on its own grid to probabilities, or a segmentation, on the scan's grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from numpy.typing import NDArray

from nnunet_ext.prediction.models import LoadedModel


def probabilities_of(
    model: LoadedModel, logits: NDArray[Any], properties: dict[str, Any]
) -> Iterator[NDArray[np.float32]]:
    """Yield the probabilities of one label after the other, `(Z, Y, X)` of the scan.

    Args:
        model: the model that computed the logits.
        logits: `(L, Z, Y, X)` on the network's grid.
        properties: properties of the prepared scan.

    Source: `convert_predicted_logits_to_segmentation_with_correct_shape` of nnU-Net, which decides for
        a segmentation besides and lays out all labels on the scan's grid at once.
    """
    plans, configuration = model.predictor.plans_manager, model.predictor.configuration_manager
    labels = model.predictor.label_manager
    shape = properties["shape_after_cropping_and_before_resampling"]
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    own = configuration.spacing
    present = own if len(own) == len(shape) else [spacing[0], *own]
    resampled = configuration.resampling_fn_probabilities(logits, shape, present, spacing)
    within = labels.apply_inference_nonlin(resampled).cpu().numpy()
    del resampled
    box = tuple(slice(first, end) for first, end in properties["bbox_used_for_cropping"])
    for label, scores in enumerate(within):
        # Outside of the box that nnU-Net crops a scan to, all is background; regions have no background.
        is_background = label == 0 and not labels.has_regions
        whole = np.full(properties["shape_before_cropping"], float(is_background), np.float32)
        whole[box] = scores
        yield whole.transpose(plans.transpose_backward)


def segmentation_of(
    model: LoadedModel, logits: NDArray[Any], properties: dict[str, Any]
) -> NDArray[np.integer[Any]]:
    """Return the segmentation `(Z, Y, X)` that nnU-Net decides from these logits alone."""
    segmentation: NDArray[np.integer[Any]] = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        model.predictor.plans_manager,
        model.predictor.configuration_manager,
        model.predictor.label_manager,
        properties,
        num_threads_torch=torch.get_num_threads(),
    )
    return segmentation
