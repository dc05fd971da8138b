"""The files of a case, read for its picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.geometry import Geometry
from nnunet_ext.report.overlays import OverlayCase
from nnunet_ext.volumes import as_labels, read_segmentation, read_voxels


@dataclass(frozen=True)
class CaseFiles:
    """Where a case lies.

    Attributes:
        title: what is written above its picture.
        scan: the image file of one channel.
        segmentation: of labels.
        reference: of labels; None where there is none.
    """

    title: str
    scan: Path
    segmentation: Path
    reference: Path | None = None


def read_overlay(files: CaseFiles) -> OverlayCase:
    """Read what a picture shows; with a reference, its planes are those of the largest error.

    A 2D image becomes one slice, and an image in colours gray.

    Raises:
        SegmentationError: a file is missing or damaged, or holds no labels.
        GeometryMismatch: the files lie on different grids.
    """
    segmentation, grid = read_segmentation(files.segmentation)
    scan, scan_grid = read_voxels(files.scan)
    _check(files.segmentation, grid, files.scan, scan_grid)
    reference = None
    if files.reference is not None:
        reference, reference_grid = read_segmentation(files.reference)
        _check(files.segmentation, grid, files.reference, reference_grid)
        reference = as_labels(_as_3d(reference, grid), str(files.reference))
    return OverlayCase(
        files.title,
        _as_3d(scan, grid),
        as_labels(_as_3d(segmentation, grid), str(files.segmentation)),
        _spacing(grid),
        reference,
        shows_error=reference is not None,
    )


def _check(path: Path, grid: Geometry, other_path: Path, other: Geometry) -> None:
    found = grid.differences(other)
    if found:
        raise GeometryMismatch(f"{path} and {other_path} lie on different grids: {'; '.join(found)}.")


def _as_3d(array: NDArray[Any], grid: Geometry) -> NDArray[Any]:
    if array.ndim > len(grid.shape):  # colours
        array = array.mean(axis=-1)
    return array[np.newaxis] if array.ndim == 2 else array


def _spacing(grid: Geometry) -> tuple[float, float, float]:
    z, y, x = (1.0, *grid.spacing)[-3:]
    return z, y, x
