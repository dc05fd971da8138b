"""Image files cut to a box and pasted back, and the jobs of a scan between the coarse and the fine model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch, SegmentationError
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import (
    check_image,
    read_geometry,
    read_segmentation,
    write_image,
    write_segmentation,
)
from nnunet_ext.nnunet.dataset_json import BACKGROUND
from nnunet_ext.roi.boxes import (
    Box,
    Face,
    largest_components,
    region_box,
    touched_faces,
    whole_box,
    with_margin,
)
from nnunet_ext.roi.dataset import BoxSettings

if TYPE_CHECKING:
    import SimpleITK as sitk

EMPTY = "the coarse segmentation holds nothing of the region of interest"


def read_image(path: Path) -> sitk.Image:
    """Read an image as it is stored, its type included.

    Raises:
        SegmentationError: it is missing or damaged, or holds voxels that are NaN or infinite.
    """
    import SimpleITK as sitk

    check_image(path, finite=True)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise SegmentationError(
            f"{path} cannot be read as an image: {str(error).strip().splitlines()[-1]}"
        ) from error


def crop_image(image: sitk.Image, box: Box) -> sitk.Image:
    """Cut an image to a box; its voxels keep their values, their type and their place in mm.

    Raises:
        GeometryMismatch: the box is not inside the image.
    """
    import SimpleITK as sitk

    shape = image.GetSize()[::-1]
    if len(shape) != len(box.start) or any(stop > size for stop, size in zip(box.stop, shape, strict=True)):
        raise GeometryMismatch(f"a box up to {box.stop} is not inside an image of shape {shape}.")
    return sitk.RegionOfInterest(image, box.shape[::-1], box.start[::-1])


def crop_file(source: Path, box: Box, target: Path) -> None:
    """Write the box of an image file to another, whole or not at all.

    Raises:
        SegmentationError: the source is missing or damaged.
        GeometryMismatch: the box is not inside it.
    """
    write_image(crop_image(read_image(source), box), target)


def paste(segmentation: NDArray[np.integer[Any]], box: Box, grid: Geometry) -> NDArray[np.integer[Any]]:
    """Put the segmentation of a box into the whole scan, with background around it.

    Raises:
        GeometryMismatch: its shape is not the box's, or the box is not inside the scan.
    """
    if segmentation.shape != box.shape or any(
        stop > size for stop, size in zip(box.stop, grid.shape, strict=True)
    ):
        raise GeometryMismatch(
            f"a segmentation of shape {segmentation.shape} is not that of the box {box.start} to {box.stop} "
            f"in a scan of shape {grid.shape}."
        )
    pasted = np.full(grid.shape, BACKGROUND, segmentation.dtype)
    pasted[box.slices] = segmentation
    return pasted


@dataclass(frozen=True, kw_only=True)
class DrawJob:
    """A job that draws a box around the region of a coarse segmentation.

    Attributes:
        case_id: the case's name.
        coarse: its coarse segmentation.
        scan: its first channel.
        region: labels that make the region.
        settings: settings of the box.
    """

    case_id: str
    coarse: Path
    scan: Path
    region: tuple[int, ...]
    settings: BoxSettings


@dataclass(frozen=True)
class DrawnBox:
    """A box in the grid of its scan, and why it is the whole scan where the region is absent."""

    box: Box
    grid: Geometry
    fallback: str | None


@dataclass(frozen=True)
class CutJob:
    """A job that cuts the channels of a scan to a box, and writes them to a folder."""

    case_id: str
    files: tuple[Path, ...]
    box: Box
    folder: Path


@dataclass(frozen=True, kw_only=True)
class PasteJob:
    """A job that puts the segmentation of a box back into its scan.

    Attributes:
        case_id: the case's name.
        segmentation: file of the box's segmentation.
        box: the box in the scan.
        grid: grid of the scan.
        target: the file to write.
        wide: write uint16.
        n_components: how many of the largest components may move the faces of the box.
    """

    case_id: str
    segmentation: Path
    box: Box
    grid: Geometry
    target: Path
    wide: bool
    n_components: int


def draw_box(job: DrawJob) -> DrawnBox:
    """Draw the box of a scan's region of interest; the whole scan where the coarse model found nothing.

    Raises:
        SegmentationError: a file is damaged.
    """
    segmentation, _ = read_segmentation(job.coarse)
    grid = read_geometry(job.scan)
    inner = region_box(segmentation, job.region, job.settings.n_components)
    if inner is None:
        return DrawnBox(whole_box(grid.shape), grid, EMPTY)
    return DrawnBox(with_margin(inner, job.settings.margin_mm, grid), grid, None)


def cut_scan(job: CutJob) -> int:
    """Write the box of each channel, and return the number of files.

    Raises:
        SegmentationError: a file is damaged.
        GeometryMismatch: the box is not inside it.
    """
    for path in job.files:
        crop_file(path, job.box, job.folder / path.name)
    return len(job.files)


def find_touched(job: PasteJob) -> tuple[Face, ...]:
    """Return the faces of a box that the segmentation's largest components reach, where the scan goes on.

    False positives at a face are smaller than the organ as a rule; if they moved the face, the box would
    grow towards more of them.

    Raises:
        SegmentationError: it is damaged.
    """
    segmentation, _ = read_segmentation(job.segmentation)
    values = np.unique(segmentation[segmentation != BACKGROUND]).tolist()
    if not values:
        return ()
    organ = largest_components(segmentation, values, job.n_components)
    return touched_faces(organ, job.box, job.grid.shape)


def paste_back(job: PasteJob) -> Path:
    """Write a segmentation of a box as that of its scan, in the scan's exact geometry.

    Raises:
        SegmentationError: it is damaged, or a label does not fit the type.
        GeometryMismatch: it is not of the box.
    """
    segmentation, _ = read_segmentation(job.segmentation)
    write_segmentation(paste(segmentation, job.box, job.grid), job.grid, job.target, wide=job.wide)
    return job.target
