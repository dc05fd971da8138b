"""From a segmentation to the box around its region of interest."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.files.whole import sha256_of, written_whole
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import as_labels, check_image, read_geometry, read_segmentation, write_image
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.postprocess.components import find_components
from nnunet_ext.roi.boxes import (
    Box,
    Mask,
    bounding_box,
    describe_box,
    generator_of,
    jittered,
    whole_box,
    with_margin,
)
from nnunet_ext.roi.dataset import BoxSettings
from nnunet_ext.roi.images import crop_image, read_image
from nnunet_ext.roi.merging import LabelMap

Segmentation = NDArray[np.integer[Any]]


def region_of(segmentation: Segmentation, values: Sequence[int], n_components: int | None) -> Box | None:
    """The bounding box of a region's largest components; None where there is nothing of it.

    Args:
        segmentation: of the scan.
        values: that make the region together.
        n_components: how many components count. None is all of them.
    """
    if n_components is None:
        return bounding_box(np.isin(segmentation, values))
    return bounding_box(largest_components(segmentation, values, n_components))


def largest_components(segmentation: Segmentation, values: Sequence[int], n_components: int) -> Mask:
    """A region's largest components; those of the same size as the last one count, too.

    So the result does not depend on the orientation.
    """
    components, sizes, _ = find_components(segmentation, [tuple(values)])
    sizes[0] = 0
    if not sizes.any():
        return np.zeros(segmentation.shape, np.bool_)
    smallest = np.sort(sizes[sizes > 0])[::-1][:n_components][-1]
    return (sizes >= smallest)[components]


@dataclass(frozen=True, kw_only=True)
class CropJob:
    """One training case to crop.

    Attributes:
        case_id: the case's name.
        channels: its images, in order.
        label: its reference.
        coarse: its coarse segmentation; None draws the box around the reference.
        region: values of the segmentation that the box is drawn around.
        settings: of the box.
        jitter_mm: how far faces move at random at most.
        seed: of that.
        whole: take the whole scan.
        dataset: of the reference's labels.
        label_map: what they become.
        target: folder of the new data set.
    """

    case_id: str
    channels: tuple[Path, ...]
    label: Path
    coarse: Path | None
    region: tuple[int, ...]
    settings: BoxSettings
    jitter_mm: float
    seed: int
    whole: bool
    dataset: Dataset
    label_map: LabelMap
    target: Path


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One case's box and what it cut off.

    Attributes:
        box: as `describe_box` tells it.
        scan: the whole scan's grid.
        drawn_around: `reference`, the file of the coarse segmentation, or `whole scan`.
        fallback: why the box is the whole scan although none was asked for; None where it is not.
        cut_off: voxels of the reference outside of the box, by label; those that lost none are left out.
        source_sha256: of the reference.
        notes: what was odd but did no harm.
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
    merged = job.label_map.apply(reference, str(job.label))
    notes = [note for path in job.channels for note in _compared(path, read_geometry(path), grid)]
    box, fallback = _box(job, reference, grid, notes)
    with _all_or_none(job):
        for path in job.channels:
            _write_crop(path, box, grid, job.target / "imagesTr" / path.name)
        _write_label(job, merged, box)
    around = "whole scan" if job.whole else str(job.coarse or "reference")
    return Crop(
        box=describe_box(box, grid),
        scan=asdict(grid),
        drawn_around=around,
        fallback=fallback,
        cut_off=_cut_off(reference, box, job.dataset),
        source_sha256=sha256_of(job.label),
        notes=tuple(notes),
        elapsed_s=round(time.perf_counter() - started, 3),
    )


def _box(job: CropJob, reference: Segmentation, grid: Geometry, notes: list[str]) -> tuple[Box, str | None]:
    """The case's box, and why it is the whole scan where that was not asked for."""
    if job.whole:
        return whole_box(grid.shape), None
    if job.coarse is None:
        inner = region_of(reference, job.region, None)  # all of it is true
    else:
        coarse, its_grid = read_segmentation(job.coarse)
        notes += _compared(job.coarse, its_grid, grid)
        inner = region_of(as_labels(coarse, str(job.coarse)), job.region, job.settings.n_components)
    if inner is None:
        of = "the reference" if job.coarse is None else "the coarse segmentation"
        return whole_box(grid.shape), f"{of} holds nothing of the region of interest"
    box = with_margin(inner, job.settings.margin_mm, grid)
    return jittered(box, inner, job.jitter_mm, grid, generator_of(job.seed, job.case_id)), None


def _compared(path: Path, its: Geometry, grid: Geometry) -> list[str]:
    """How a file's grid differs from the reference's; another shape is an error."""
    if its.shape != grid.shape:
        raise GeometryMismatch(f"{path} has shape {its.shape}, the reference {grid.shape}.")
    return [f"{path.name} and the reference differ in {what}" for what in its.differences(grid)]


@contextmanager
def _all_or_none(job: CropJob) -> Iterator[None]:
    """Leave no image behind whose label could not be written: nnU-Net would want to train on it."""
    try:
        yield
    except BaseException:
        for path in job.channels:
            (job.target / "imagesTr" / path.name).unlink(missing_ok=True)
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
    write_image(crop, job.target / "labelsTr" / job.label.name)


def _cut_off(reference: Segmentation, box: Box, dataset: Dataset) -> dict[str, int]:
    inside = reference[box.slices]
    highest = int(reference.max(initial=0)) + 1
    lost = np.bincount(reference.ravel(), minlength=highest) - np.bincount(inside.ravel(), minlength=highest)
    by_name = {
        name: int(sum(lost[value] for value in values if value < highest))
        for name, values in dataset.labels.covered_by_name.items()
    }
    return {name: n_voxels for name, n_voxels in by_name.items() if n_voxels}
