"""Crop one training case: draw its box, and write the box of its images and of its reference."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.files.whole import sha256_of, written_whole
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import as_labels, check_image, read_geometry, read_segmentation, write_image
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.roi.boxes import (
    Box,
    Segmentation,
    describe_box,
    generator_of,
    jittered,
    region_box,
    whole_box,
    with_margin,
)
from nnunet_ext.roi.dataset import BoxSettings
from nnunet_ext.roi.images import crop_image, read_image
from nnunet_ext.roi.merging import LabelMap


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """The settings that all cases of a new data set have in common.

    Attributes:
        region: values of the segmentation that the box is drawn around.
        box: margin and components of the box.
        jitter_mm: the most by which faces of the box move at random.
        seed: seed of the random numbers.
        whole: take whole scans.
        dataset: labels of the references.
        label_map: the new values of these labels.
        target: folder of the new data set.
    """

    region: tuple[int, ...]
    box: BoxSettings
    jitter_mm: float
    seed: int
    whole: bool
    dataset: Dataset
    label_map: LabelMap
    target: Path


@dataclass(frozen=True, kw_only=True)
class CropJob:
    """A job that crops one training case.

    Attributes:
        case_id: the case's name.
        channels: its images, in order.
        label: its reference.
        coarse: its coarse segmentation; None draws the box around the reference.
        settings: the settings of all cases.
    """

    case_id: str
    channels: tuple[Path, ...]
    label: Path
    coarse: Path | None
    settings: CropSettings


@dataclass(frozen=True, kw_only=True)
class Crop:
    """The box of one case, and what it cut off.

    Attributes:
        box: as `describe_box` returns it.
        scan: grid of the whole scan.
        drawn_around: `reference`, the file of the coarse segmentation, or `whole scan`.
        fallback: why the box is the whole scan although a region was asked for; None where it is not.
        cut_off: voxels of the reference outside of the box, by label; labels that lost none are left out.
        source_sha256: SHA-256 of the reference.
        notes: what was unusual but did no harm.
        elapsed_s: seconds.
    """

    box: Mapping[str, Any]
    scan: Mapping[str, Any]
    drawn_around: str
    fallback: str | None
    cut_off: Mapping[str, int]
    source_sha256: str
    notes: tuple[str, ...]
    elapsed_s: float


def crop_case(job: CropJob) -> Crop:
    """Write the box of a case's images and of its reference, with its labels merged.

    Raises:
        SegmentationError: a file is damaged, or the reference holds a value that is no label.
        GeometryMismatch: its files differ in shape.
    """
    started = time.perf_counter()
    stored, grid = read_segmentation(job.label)
    reference = as_labels(stored, str(job.label))
    merged = job.settings.label_map.apply(reference, str(job.label))
    notes = [note for path in job.channels for note in _grid_notes(path, read_geometry(path), grid)]
    box, fallback = _draw_box(job, reference, grid, notes)
    with _all_or_none(job):
        for path in job.channels:
            _write_crop(path, box, grid, job.settings.target / "imagesTr" / path.name)
        _write_label(job, merged, box)
    return Crop(
        box=describe_box(box, grid),
        scan=asdict(grid),
        drawn_around="whole scan" if job.settings.whole else str(job.coarse or "reference"),
        fallback=fallback,
        cut_off=_cut_off(reference, box, job.settings.dataset),
        source_sha256=sha256_of(job.label),
        notes=tuple(notes),
        elapsed_s=round(time.perf_counter() - started, 3),
    )


def _draw_box(
    job: CropJob, reference: Segmentation, grid: Geometry, notes: list[str]
) -> tuple[Box, str | None]:
    """Return the case's box, and why it is the whole scan where that was not asked for."""
    settings = job.settings
    if settings.whole:
        return whole_box(grid.shape), None
    if job.coarse is None:
        inner = region_box(reference, settings.region, None)  # all components of a reference are true
    else:
        coarse, its_grid = read_segmentation(job.coarse)
        notes += _grid_notes(job.coarse, its_grid, grid)
        labels = as_labels(coarse, str(job.coarse))
        inner = region_box(labels, settings.region, settings.box.n_components)
    if inner is None:
        of = "the reference" if job.coarse is None else "the coarse segmentation"
        return whole_box(grid.shape), f"{of} holds nothing of the region of interest"
    box = with_margin(inner, settings.box.margin_mm, grid)
    return jittered(box, inner, settings.jitter_mm, grid, generator_of(settings.seed, job.case_id)), None


def _grid_notes(path: Path, its: Geometry, grid: Geometry) -> list[str]:
    """Note how a file's grid differs from the reference's; another shape is an error."""
    if its.shape != grid.shape:
        raise GeometryMismatch(f"{path} has shape {its.shape}, the reference {grid.shape}.")
    return [f"{path.name} and the reference differ in {what}" for what in its.differences(grid)]


@contextmanager
def _all_or_none(job: CropJob) -> Iterator[None]:
    """Remove the case's images where its label could not be written: nnU-Net would want to train on them."""
    try:
        yield
    except BaseException:
        for path in job.channels:
            (job.settings.target / "imagesTr" / path.name).unlink(missing_ok=True)
        raise


def _write_crop(source: Path, box: Box, grid: Geometry, target: Path) -> None:
    if box == whole_box(grid.shape):
        check_image(source, finite=True)
        with written_whole(target) as part:
            shutil.copyfile(source, part)
    else:
        write_image(crop_image(read_image(source), box), target)


def _write_label(job: CropJob, merged: Segmentation, box: Box) -> None:
    import SimpleITK as sitk

    crop = sitk.GetImageFromArray(np.ascontiguousarray(merged[box.slices]))
    crop.CopyInformation(crop_image(read_image(job.label), box))
    write_image(crop, job.settings.target / "labelsTr" / job.label.name)


def _cut_off(reference: Segmentation, box: Box, dataset: Dataset) -> dict[str, int]:
    """Count the voxels of each label outside of a box; labels that lose none are left out."""
    inside = reference[box.slices]
    highest = int(reference.max(initial=0)) + 1
    lost = np.bincount(reference.ravel(), minlength=highest) - np.bincount(inside.ravel(), minlength=highest)
    by_name = {
        name: int(sum(lost[value] for value in values if value < highest))
        for name, values in dataset.labels.covered_by_name.items()
    }
    return {name: n_voxels for name, n_voxels in by_name.items() if n_voxels}
