"""Count the overlap of a prediction with its reference, for all labels in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch, SegmentationError
from nnunet_ext.metrics.dice import Overlap
from nnunet_ext.nnunet.dataset_json import BACKGROUND, Labels

BLOCK_VOXELS = 1 << 18  # fits a core's cache with all intermediate arrays
LARGEST = 1023
SHOWN = 5  # values in a message
N_COUNTS = 3  # of a label: in the reference, in the prediction, in both
Segmentation = NDArray[np.integer[Any]]
Joint = NDArray[np.int64]
Counts = NDArray[np.int64]


def joint_histogram(prediction: Segmentation, reference: Segmentation, n_values: int = 1) -> Joint:
    """Count every pair of values that one voxel has in the prediction and in the reference.

    Args:
        prediction: values of 0 or more, in any shape and integer type.
        reference: an array of the same shape and kind.
        n_values: rows and columns at least; more where a value is larger.

    Returns:
        `(n, n)`: prediction down, reference to the right.

    Raises:
        GeometryMismatch: the shapes differ.
        SegmentationError: a value is negative or above 1023.
    """
    if prediction.shape != reference.shape:
        raise GeometryMismatch(
            f"the prediction has shape {prediction.shape}, the reference {reference.shape}."
        )
    for what, array in (("prediction", prediction), ("reference", reference)):
        lowest, highest = int(array.min(initial=0)), int(array.max(initial=0))
        if lowest < 0 or highest > LARGEST:
            wrong = lowest if lowest < 0 else highest
            raise SegmentationError(f"the {what} holds {wrong}; labels lie in 0..{LARGEST}.")
        n_values = max(n_values, highest + 1)
    # The smallest type for the pairs, since bincount copies each block to indices.
    dtype = np.min_scalar_type(n_values * n_values - 1)
    down, right = prediction.reshape(-1), reference.reshape(-1)
    joint = np.zeros(n_values * n_values, np.int64)
    for start in range(0, down.size, BLOCK_VOXELS):
        pairs = down[start : start + BLOCK_VOXELS].astype(dtype)
        pairs *= dtype.type(n_values)
        pairs += right[start : start + BLOCK_VOXELS].astype(dtype, copy=False)
        joint += np.bincount(pairs, minlength=len(joint))
    return joint.reshape(n_values, n_values)


def without_ignored(joint: Joint, ignore: int | None) -> Joint:
    """Return the counts without the voxels of the ignore label in the reference."""
    if ignore is None or ignore >= joint.shape[-1]:
        return joint
    kept = joint.copy()
    kept[..., ignore] = 0
    return kept


def label_counts(joint: Joint, labels: Labels) -> Counts:
    """Count the voxels of each label or region but the background, from the counts of pairs.

    Args:
        joint: `(..., n, n)`, prediction before reference.
        labels: labels of the data set; a region counts the voxels of all its parts.

    Returns:
        `(..., foreground labels, 3)`: in the reference, in the prediction, in both.
    """
    counts = np.zeros((*joint.shape[:-2], len(labels.foreground), N_COUNTS), np.int64)
    for row, channel in enumerate(labels.foreground):
        values = [value for value in labels.covered[channel] if value < joint.shape[-1]]
        counts[..., row, 0] = joint[..., :, values].sum(axis=(-2, -1))
        counts[..., row, 1] = joint[..., values, :].sum(axis=(-2, -1))
        counts[..., row, 2] = joint[..., values, :][..., values].sum(axis=(-2, -1))
    return counts


def known_values(labels: Labels) -> set[int]:
    """Return the values that a segmentation with these labels may hold."""
    return {BACKGROUND, *labels.values, *(value for covered in labels.covered for value in covered)}


def n_values_of(labels: Labels) -> int:
    """Return one more than the largest value that a segmentation with these labels may hold."""
    return max(known_values(labels)) + 1


def check_values(n_voxels: NDArray[np.int64], labels: Labels, also: int | None = None) -> None:
    """Refuse values that are no label, which counted as background would give a wrong Dice.

    Args:
        n_voxels: voxels of each value from 0 on, as a margin of the counts of pairs.
        labels: labels of the data set.
        also: one more value that is right, such as the ignore label's.

    Raises:
        SegmentationError: there are such values; names them.
    """
    unknown = sorted({int(value) for value in np.flatnonzero(n_voxels)} - known_values(labels) - {also})
    if unknown:
        found = ", ".join(f"{value} ({int(n_voxels[value])} voxels)" for value in unknown[:SHOWN])
        if len(unknown) > SHOWN:
            found += f" and {len(unknown) - SHOWN} more values"
        known = ", ".join(map(str, sorted(known_values(labels))))
        raise SegmentationError(
            f"it holds values that are no label: {found}; labels of this data set are {known}."
        )


def dice_of_counts(counts: Counts) -> NDArray[np.float64]:
    """Compute Dice as nnU-Net counts it, `(...)` from `(..., 3)`: 0 for a false alarm, NaN without a voxel.

    `Overlap.nnunet_dice` is the same number of one label.
    """
    reference, predicted, common = (counts[..., k].astype(np.float64) for k in range(N_COUNTS))
    either = reference + predicted
    return np.where(either > 0, 2 * common / np.maximum(either, 1), np.nan)


def overlaps(counts: Counts) -> tuple[Overlap, ...]:
    """Convert one case's counts `(foreground labels, 3)` to overlaps."""
    return tuple(Overlap(*map(int, row)) for row in counts)


def foreground_names(labels: Labels) -> list[str]:
    """Return the names of the labels or regions that are compared, in the order of their counts."""
    return [labels.names[channel] for channel in labels.foreground]


def case_dice(
    prediction: Segmentation, reference: Segmentation, labels: Labels, ignore: int | None = None
) -> dict[str, Overlap]:
    """Compare one prediction with its reference, for every label or region but the background.

    Args:
        prediction: labels in any shape.
        reference: labels in the same shape.
        labels: labels of the data set; a region counts the voxels of all its parts.
        ignore: value of voxels in the reference that do not count.

    Returns:
        By label name, in the data set's order.

    Raises:
        GeometryMismatch, SegmentationError: as `joint_histogram`, and where a value is no label.
    """
    joint = joint_histogram(prediction, reference, n_values_of(labels))
    check_values(joint.sum(axis=1), labels)
    check_values(joint.sum(axis=0), labels, ignore)
    found = overlaps(label_counts(without_ignored(joint, ignore), labels))
    return dict(zip(foreground_names(labels), found, strict=True))
