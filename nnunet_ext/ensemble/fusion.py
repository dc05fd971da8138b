"""Fuse members' probabilities to one score volume per label, and decide the segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.images.image import segmentation_type
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.probabilities.stream import Block, Layout, Piece


class Scores(NamedTuple):
    """Fused scores of some voxels of one label."""

    piece: Piece
    values: Block


def fuse(
    members: Sequence[Iterator[Block]], weights: NDArray[np.float64], layout: Layout
) -> Iterator[Scores]:
    """Fuse the members' probabilities label by label, block by block.

    Args:
        members: one stream of blocks each, all cut by `layout`.
        weights: `(M, L)`, finite and non-negative, no label's column all zero.
        layout: the cut of the streams into blocks.

    Yields:
        One weighted mean a block. Where labels differ in their weights the means of a voxel need
        not sum to 1: they are scores to compare, no longer probabilities. Members of equal weight
        are added in their order and divided by their number, in single precision, as
        `nnunetv2.ensembling.ensemble.average_probabilities` does: the result is the same to the bit.

    Raises:
        ValueError: `weights` has another shape, or a stream is longer or shorter than `layout`.
    """
    if weights.shape != (len(members), layout.n_labels):
        raise ValueError(f"weights have shape {weights.shape}, not {(len(members), layout.n_labels)}.")
    relative = relative_weights(weights)
    for piece, *blocks in zip(layout.pieces(), *members, strict=True):
        yield Scores(piece, weighted_mean(blocks, relative[:, piece.label]))


def relative_weights(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return weights `(M, L)` relative to each label's largest, which is then exactly 1."""
    return (weights / weights.max(axis=0)).astype(np.float32)


def weighted_mean(blocks: Sequence[Block], relative: NDArray[np.float32]) -> Block:
    """Compute the mean of some voxels' values of one label; members of weight 0 are not read."""
    used = [(block, weight) for block, weight in zip(blocks, relative, strict=True) if weight > 0]
    (first, weight), *rest = used
    total = _weighted(first, weight)
    for block, weight in rest:
        total = _add_weighted(total, block, weight)
    total /= relative.sum()
    return total


def _weighted(block: Block, weight: np.float32) -> Block:
    return block.copy() if weight == 1 else block * weight


def _add_weighted(total: Block, block: Block, weight: np.float32) -> Block:
    """Add a block to `total` in place, and return it."""
    total += block if weight == 1 else block * weight
    return total


REGION_THRESHOLD = np.float32(0.5)


def decide(scores: Iterable[Scores], labels: Labels, layout: Layout) -> NDArray[np.integer]:
    """Choose a label for each voxel.

    Labels that exclude each other: the highest score wins, a tie goes to the lower label. Regions:
    each paints its value where its score exceeds 0.5, over those before it in class order.

    Args:
        scores: all of a case, label after label.
        labels: the labels that the channels stand for.
        layout: the cut of the scores into blocks.

    Returns:
        `(Z, Y, X)`, uint8, or uint16 where a label is above 255.

    Source: `LabelManager.convert_probabilities_to_segmentation` of nnU-Net.
    """
    segmentation = np.zeros(layout.n_voxels, segmentation_type(labels.values))
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
