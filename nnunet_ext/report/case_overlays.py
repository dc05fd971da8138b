"""Overlays of cases: their files read, and pictures of one case or of all in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import DatasetError, GeometryMismatch, UsageError
from nnunet_ext.files.outputs import PNG_AUTHOR, check_file, contains
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import as_labels, read_segmentation, read_voxels
from nnunet_ext.jobs.pool import Outcome, run_jobs
from nnunet_ext.nnunet.dataset_json import Dataset, read_dataset
from nnunet_ext.nnunet.raw import ENDINGS, find_ending, find_images
from nnunet_ext.report.overlays import OverlayCase, draw_overlays


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


@dataclass(frozen=True)
class OverlayJob:
    """One picture to draw.

    Attributes:
        files: of the case.
        labels: values by name; None names each value by itself.
        target: the PNG.
    """

    files: CaseFiles
    labels: dict[str, tuple[int, ...]] | None
    target: Path


def overlay_jobs(
    scans: Path,
    segmentations: Path,
    references: Path | None,
    output: Path,
    dataset: Path | None = None,
    *,
    overwrite: bool = False,
) -> list[OverlayJob]:
    """The pictures of a case, or of every case in a folder of segmentations.

    Args:
        scans: the scan, or the folder with every case's, of several channels the first.
        segmentations: the segmentation, or the folder of them.
        references: likewise; None for none. A case of a folder without a reference is drawn without.
        output: the PNG, or the folder for them.
        dataset: the dataset.json that names the labels; by default the one beside the segmentations, of
            their model or of the scans' data set. Without any, labels are named by their values.
        overwrite: replace files that are no pictures of ours.

    Raises:
        UsageError: files and folders are mixed, a folder is empty, or no case has a scan.
        DatasetError: the dataset.json that was named cannot be read.
    """
    described = _dataset(dataset, segmentations, scans)
    labels = described.labels.covered_by_name if described else None
    paths = [path for path in (scans, segmentations, references) if path is not None]
    if not any(path.is_dir() for path in paths):
        title = _case_id(segmentations.name)
        jobs = [OverlayJob(CaseFiles(title, scans, segmentations, references), labels, output)]
        return _may_be_drawn(jobs, overwrite)
    if not all(path.is_dir() for path in paths):
        listed = ", ".join(map(str, paths))
        raise UsageError(f"-i, -s and -r must be files, or all be folders that exist; found {listed}.")
    ending = described.file_ending if described else find_ending(segmentations)
    found = find_images(segmentations, ending, scans=False)
    of_scans = find_images(scans, ending)
    known = find_images(references, ending, scans=False) if references else {}
    if not found.keys() & of_scans.keys():
        raise UsageError(f"{scans} has no scan of any of the {len(found)} cases of {segmentations}.")
    jobs = []
    for case, path in found.items():
        scan = of_scans.get(case, scans / f"{case}_0000{ending}")  # where it is missing, that case fails
        jobs.append(OverlayJob(CaseFiles(case, scan, path, known.get(case)), labels, output / f"{case}.png"))
    return _may_be_drawn(jobs, overwrite)


def _may_be_drawn(jobs: list[OverlayJob], overwrite: bool) -> list[OverlayJob]:
    """The jobs, once none of them would replace what is no picture of ours."""
    for job in jobs:
        check_file(job.target, contains(PNG_AUTHOR["Software"]), "a picture", overwrite=overwrite)
    return jobs


def draw_jobs(jobs: list[OverlayJob], n_processes: int) -> Iterator[Outcome[OverlayJob, Path]]:
    """Draw pictures, and give what became of each; 0 processes draw in this one."""
    return run_jobs(draw_job, jobs, n_processes)


def draw_job(job: OverlayJob) -> Path:
    """Draw one picture, and give its path.

    Raises:
        SegmentationError: a file cannot be read, or holds no labels.
        GeometryMismatch: the files lie on different grids.
    """
    case = read_overlay(job.files)
    volumes = [case.segmentation] if case.reference is None else [case.segmentation, case.reference]
    labels = job.labels
    if labels is None:
        values = sorted({int(value) for volume in volumes for value in np.unique(volume)} - {0})
        labels = {f"label {value}": (value,) for value in values}
    draw_overlays([case], labels, job.target)
    return job.target


def _dataset(named: Path | None, segmentations: Path, scans: Path) -> Dataset | None:
    if named is not None:
        return read_dataset(named)
    beside, above = (path if path.is_dir() else path.parent for path in (segmentations, scans))
    for folder in (beside, *beside.resolve().parents[:2], above.resolve().parent):
        try:
            return read_dataset(folder / "dataset.json")
        except DatasetError:
            continue
    return None


def _case_id(name: str) -> str:
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), "")
    return name.removesuffix(ending)
