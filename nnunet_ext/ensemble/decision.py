"""Score volumes become a segmentation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.fusion import Scores
from nnunet_ext.labels import Labels
from nnunet_ext.probabilities.stream import Layout

REGION_THRESHOLD = np.float32(0.5)


def decide(scores: Iterable[Scores], labels: Labels, layout: Layout) -> NDArray[np.integer]:
    """Choose a label for each voxel.

    Labels that exclude each other: the highest score wins, a tie goes to the lower label. Regions:
    each paints its value where its score exceeds 0.5, over those before it in class order.

    Args:
        scores: all of a case, label after label.
        labels: what the channels stand for.
        layout: how the scores are cut.

    Returns:
        `(Z, Y, X)`, uint8, or uint16 where a label is above 255.

    Source: `LabelManager.convert_probabilities_to_segmentation` of nnU-Net.
    """
    dtype = np.uint8 if max(labels.values) <= np.iinfo(np.uint8).max else np.uint16
    segmentation = np.zeros(layout.n_voxels, dtype)
    if labels.is_regions:
        for piece, values in scores:
            np.copyto(segmentation[piece.voxels], labels.values[piece.label], where=values > REGION_THRESHOLD)
        return segmentation.reshape(layout.shape)
    best = np.full(layout.n_voxels, -np.inf, np.float32)
    for piece, values in scores:
        best_here = best[piece.voxels]
        np.copyto(segmentation[piece.voxels], labels.values[piece.label], where=values > best_here)
        np.maximum(best_here, values, out=best_here)
    return segmentation.reshape(layout.shape)
