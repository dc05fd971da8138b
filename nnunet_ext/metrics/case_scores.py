"""Compare the prediction of one case with its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_ext.errors import GeometryMismatch, SegmentationError
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import as_labels, read_segmentation
from nnunet_ext.metrics.overlap import (
    Joint,
    Overlap,
    Segmentation,
    check_values,
    joint_histogram,
    label_counts,
    n_values_of,
    overlaps,
    without_ignored,
)
from nnunet_ext.metrics.surface import Surface, compare_surfaces
from nnunet_ext.nnunet.dataset_json import Dataset


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """A job that compares one prediction with its reference.

    Attributes:
        case_id: the case's name.
        prediction: the predicted segmentation.
        reference: the reference segmentation.
        dataset: labels, and which value of the reference does not count.
        tolerance_mm: tolerance of the surface Dice; None compares no surfaces.
        values: rising values of the files that the labels 1, 2, … stand for, all others being background;
            None where the labels are the values themselves.
    """

    case_id: str
    prediction: Path
    reference: Path
    dataset: Dataset
    tolerance_mm: float | None = None
    values: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class CaseScores:
    """Scores of one case against its reference.

    Attributes:
        case_id: the case's name.
        prediction: file of the segmentation.
        reference: file of the reference.
        overlaps: one a foreground label or region.
        n_voxels: all voxels that count.
        surfaces: one a foreground label; empty where none were compared.
    """

    case_id: str
    prediction: Path
    reference: Path
    overlaps: tuple[Overlap, ...]
    n_voxels: int
    surfaces: tuple[Surface, ...] = ()


def evaluate_case(job: EvaluationJob) -> CaseScores:
    """Compare one prediction with its reference, reading each file once.

    Raises:
        SegmentationError: a file cannot be read or holds values that are no label.
        GeometryMismatch: the grids differ: voxels of one place would be compared with those of another.
    """
    predicted, grid = _read(job.prediction)
    expected, expected_grid = _read(job.reference)
    if differences := grid.differences(expected_grid):
        raise GeometryMismatch(
            f"{job.prediction} and {job.reference} lie on different grids, in {' and '.join(differences)}: "
            "bring the prediction onto the reference's grid first."
        )
    if job.values is not None:
        predicted, expected = _numbered(predicted, job.values), _numbered(expected, job.values)
    try:
        joint = joint_histogram(predicted, expected, n_values_of(job.dataset.labels))
    except SegmentationError as error:
        raise SegmentationError(f"{job.prediction} and {job.reference}: {error}") from None
    _check_values(job, joint)
    joint = without_ignored(joint, job.dataset.ignore)
    return CaseScores(
        case_id=job.case_id,
        prediction=job.prediction,
        reference=job.reference,
        overlaps=overlaps(label_counts(joint, job.dataset.labels)),
        n_voxels=int(joint.sum()),
        surfaces=_surfaces(job, predicted, expected, expected_grid),
    )


def _numbered(array: Segmentation, values: Sequence[int]) -> Segmentation:
    """Replace the k-th of some values by k, and all other values by 0."""
    known = np.array(values, np.int64)
    places = np.minimum(np.searchsorted(known, array), len(known) - 1)
    return np.where(known[places] == array, places + 1, 0)


def values_of(path: Path) -> tuple[int, ...]:
    """Return the values that a segmentation holds, in rising order.

    Raises:
        SegmentationError: it cannot be read, or holds no whole numbers of 0 or more.
    """
    found = np.unique(_read(path)[0])
    if found.size and found[0] < 0:
        raise SegmentationError(f"{path} holds {found[0]}; labels are 0 or more.")
    return tuple(found.tolist())


def _check_values(job: EvaluationJob, joint: Joint) -> None:
    for path, axis, also in ((job.prediction, 1, None), (job.reference, 0, job.dataset.ignore)):
        try:
            check_values(joint.sum(axis=axis), job.dataset.labels, also)
        except SegmentationError as error:
            raise SegmentationError(f"{path}: {error}") from None


def _read(path: Path) -> tuple[Segmentation, Geometry]:
    array, geometry = read_segmentation(path)
    return as_labels(array, str(path)), geometry


def _surfaces(
    job: EvaluationJob, predicted: Segmentation, expected: Segmentation, grid: Geometry
) -> tuple[Surface, ...]:
    if job.tolerance_mm is None:
        return ()
    labels, ignore = job.dataset.labels, job.dataset.ignore
    counts = True if ignore is None else expected != ignore
    return tuple(
        compare_surfaces(
            np.isin(predicted, labels.covered[channel]) & counts,
            np.isin(expected, labels.covered[channel]),
            grid.spacing,
            job.tolerance_mm,
        )
        for channel in labels.foreground
    )
