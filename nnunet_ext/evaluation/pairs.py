"""One prediction and its reference, compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_ext.errors import GeometryMismatch, SegmentationError
from nnunet_ext.evaluation.surface import Surface, compare_surfaces
from nnunet_ext.geometry import Geometry
from nnunet_ext.labels import Dataset
from nnunet_ext.overlap import (
    Overlap,
    Segmentation,
    joint_histogram,
    label_counts,
    n_values_of,
    overlaps,
    without_ignored,
)
from nnunet_ext.volumes import as_labels, read_segmentation


@dataclass(frozen=True)
class Pair:
    """One comparison to make.

    Attributes:
        case_id: the case's name.
        prediction: its segmentation.
        reference: what is held to be true.
        dataset: labels, and which value of the reference does not count.
        tolerance_mm: of the surface Dice; None compares no surfaces.
    """

    case_id: str
    prediction: Path
    reference: Path
    dataset: Dataset
    tolerance_mm: float | None = None


@dataclass(frozen=True)
class PairScores:
    """What a comparison found.

    Attributes:
        case_id: the case's name.
        prediction: file of the segmentation.
        reference: file of the reference.
        overlaps: one a foreground label or region.
        n_voxels: all voxels that count.
        surfaces: one a foreground label; empty where none were compared.
        notes: what was odd but did no harm.
    """

    case_id: str
    prediction: Path
    reference: Path
    overlaps: tuple[Overlap, ...]
    n_voxels: int
    surfaces: tuple[Surface, ...] = ()
    notes: tuple[str, ...] = ()


def evaluate_pair(pair: Pair) -> PairScores:
    """Compare one prediction with its reference, reading each file once.

    Raises:
        SegmentationError: a file cannot be read or holds values that are no label.
        GeometryMismatch: the shapes differ. Other differences of the grids are noted.
    """
    predicted, grid = _read(pair.prediction)
    expected, expected_grid = _read(pair.reference)
    try:
        joint = joint_histogram(predicted, expected, n_values_of(pair.dataset.labels))
    except (GeometryMismatch, SegmentationError) as error:
        raise type(error)(f"{pair.prediction} and {pair.reference}: {error}") from None
    joint = without_ignored(joint, pair.dataset.ignore)
    return PairScores(
        pair.case_id,
        pair.prediction,
        pair.reference,
        overlaps(label_counts(joint, pair.dataset.labels)),
        int(joint.sum()),
        _surfaces(pair, predicted, expected, expected_grid),
        tuple(f"prediction and reference differ in {what}" for what in grid.differences(expected_grid)),
    )


def _read(path: Path) -> tuple[Segmentation, Geometry]:
    array, geometry = read_segmentation(path)
    return as_labels(array, str(path)), geometry


def _surfaces(
    pair: Pair, predicted: Segmentation, expected: Segmentation, grid: Geometry
) -> tuple[Surface, ...]:
    if pair.tolerance_mm is None:
        return ()
    labels, ignore = pair.dataset.labels, pair.dataset.ignore
    counts = True if ignore is None else expected != ignore
    return tuple(
        compare_surfaces(
            np.isin(predicted, labels.covered[channel]) & counts,
            np.isin(expected, labels.covered[channel]),
            grid.spacing,
            pair.tolerance_mm,
        )
        for channel in labels.foreground
    )
