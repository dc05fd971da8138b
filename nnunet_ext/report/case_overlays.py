"""The overlay verb: reads scans and segmentations, and draws one case or every case of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import DatasetError, GeometryMismatch, UsageError
from nnunet_ext.files.outputs import PNG_AUTHOR, check_file, contains
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import as_labels, read_segmentation, read_voxels
from nnunet_ext.jobs.pool import default_processes, run_jobs
from nnunet_ext.nnunet.dataset_json import Dataset, read_dataset
from nnunet_ext.nnunet.image_files import case_of_file, find_ending, find_images, scan_name
from nnunet_ext.report.overlays import OverlayCase, draw_overlays


@dataclass(frozen=True)
class OverlayFiles:
    """The files of one case to draw.

    Attributes:
        title: written above the picture.
        scan: the image file of one channel.
        segmentation: the image file of labels.
        reference: the image file of the reference labels; None where there is none.
    """

    title: str
    scan: Path
    segmentation: Path
    reference: Path | None = None


def read_overlay(files: OverlayFiles) -> OverlayCase:
    """Read the scan and segmentations of a case; with a reference, planes go through the largest error.

    A 2D image becomes one slice, and a colour image becomes gray.

    Raises:
        SegmentationError: a file is missing or damaged, or holds no labels.
        GeometryMismatch: the files lie on different grids.
    """
    segmentation, grid = read_segmentation(files.segmentation)
    scan, scan_grid = read_voxels(files.scan)
    _check_grids(files.segmentation, grid, files.scan, scan_grid)
    reference = None
    if files.reference is not None:
        reference, reference_grid = read_segmentation(files.reference)
        _check_grids(files.segmentation, grid, files.reference, reference_grid)
        reference = as_labels(_as_3d(reference, grid), str(files.reference))
    return OverlayCase(
        title=files.title,
        scan=_as_3d(scan, grid),
        segmentation=as_labels(_as_3d(segmentation, grid), str(files.segmentation)),
        spacing_mm=_spacing(grid),
        reference=reference,
        shows_error=reference is not None,
    )


def _check_grids(path: Path, grid: Geometry, other_path: Path, other: Geometry) -> None:
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
        files: the files of the case.
        labels: the values of each label, by name; None names every value by its number.
        target: the PNG to write.
    """

    files: OverlayFiles
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
    """List the pictures of one case, or of every case in a folder of segmentations.

    Args:
        scans: the scan, or the folder of scans, of which the first channel is drawn.
        segmentations: the segmentation, or the folder of segmentations.
        references: the reference, or the folder of references; None for none. A case of a folder that has
            no reference is drawn without one.
        output: the PNG, or the folder for the PNG files.
        dataset: the dataset.json that names the labels; by default that beside the segmentations, of their
            model, or of the scans' data set. Without any, labels are named by their values.
        overwrite: replace files that nnunet_ext did not draw.

    Raises:
        UsageError: files and folders are mixed, a folder is empty, or no case has a scan.
        DatasetError: the dataset.json that was named cannot be read.
    """
    described = _dataset(dataset, segmentations, scans)
    labels = described.labels.covered_by_name if described else None
    paths = [path for path in (scans, segmentations, references) if path is not None]
    if not any(path.is_dir() for path in paths):
        title = case_of_file(segmentations.name)
        jobs = [OverlayJob(OverlayFiles(title, scans, segmentations, references), labels, output)]
        return _check_targets(jobs, overwrite)
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
        scan = of_scans.get(case, scans / scan_name(case, 0, ending))  # a missing scan fails this case alone
        jobs.append(
            OverlayJob(OverlayFiles(case, scan, path, known.get(case)), labels, output / f"{case}.png")
        )
    return _check_targets(jobs, overwrite)


def _check_targets(jobs: list[OverlayJob], overwrite: bool) -> list[OverlayJob]:
    """The jobs, after a check that none would replace a file that nnunet_ext did not draw."""
    for job in jobs:
        check_file(job.target, contains(PNG_AUTHOR["Software"]), "a picture", overwrite=overwrite)
    return jobs


@dataclass(frozen=True)
class OverlaysDone:
    """The pictures that were drawn, and the reasons of those that were not, by case."""

    pictures: tuple[Path, ...]
    failed: dict[str, str]


def run_overlay(
    scans: Path,
    segmentations: Path,
    output: Path,
    *,
    references: Path | None = None,
    dataset: Path | None = None,
    n_processes: int | None = None,
    overwrite: bool = False,
    on_step: Callable[[str, int, int], None] = lambda name, n_done, n: None,
) -> OverlaysDone:
    """Draw contours of segmentations on their scans, for one case or every case of a folder.

    Args:
        scans: as for `overlay_jobs`, like the other paths.
        segmentations: the segmentation, or the folder of segmentations.
        output: the PNG, or the folder for the PNG files.
        references: the reference, or the folder of references; None for none.
        dataset: the dataset.json that names the labels.
        n_processes: processes to draw with; 0 draws in this one, None takes one for each processor.
        overwrite: replace files that nnunet_ext did not draw.
        on_step: called after each picture with the case, the number of pictures done, and of all.

    Raises:
        UsageError: files and folders are mixed, a folder is empty, or no case has a scan.
        DatasetError: the dataset.json that was named cannot be read.
    """
    jobs = overlay_jobs(scans, segmentations, references, output, dataset, overwrite=overwrite)
    n = default_processes() if n_processes is None else n_processes
    drawn: list[Path] = []
    failed: dict[str, str] = {}
    for i, outcome in enumerate(run_jobs(draw_overlay, jobs, n if len(jobs) > 1 else 0)):
        case = outcome.job.files.title
        on_step(case, i + 1, len(jobs))
        if outcome.result is None:
            failed[case] = outcome.reason or ""
        else:
            drawn.append(outcome.result)
    return OverlaysDone(tuple(drawn), failed)


def draw_overlay(job: OverlayJob) -> Path:
    """Draw one picture and return its path.

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
