"""Steps of one scan between the coarse and the fine model; workers run nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_geometry, read_segmentation, write_segmentation
from nnunet_ext.nnunet.dataset_json import BACKGROUND
from nnunet_ext.roi.boxes import Box, Face, touched_faces, whole_box, with_margin
from nnunet_ext.roi.crops import largest_components, region_of
from nnunet_ext.roi.dataset import BoxSettings
from nnunet_ext.roi.images import crop_file, paste

EMPTY = "the coarse segmentation holds nothing of the region of interest"


@dataclass(frozen=True, kw_only=True)
class DrawJob:
    """A coarse segmentation to draw a box around.

    Attributes:
        case_id: the case's name.
        coarse: its coarse segmentation.
        scan: its first channel.
        region: values that make the region.
        settings: of the box.
    """

    case_id: str
    coarse: Path
    scan: Path
    region: tuple[int, ...]
    settings: BoxSettings


@dataclass(frozen=True)
class DrawnBox:
    """A box in its scan, and why it is the whole scan where nothing was found."""

    box: Box
    grid: Geometry
    fallback: str | None


@dataclass(frozen=True)
class CutJob:
    """A scan to cut out: its channels, into a folder."""

    case_id: str
    files: tuple[Path, ...]
    box: Box
    folder: Path


@dataclass(frozen=True, kw_only=True)
class PasteJob:
    """A segmentation of a box to put back into its scan.

    Attributes:
        case_id: the case's name.
        segmentation: of the box.
        box: where it lies.
        grid: of the scan.
        target: the file to write.
        wide: write uint16.
        n_components: how many of its largest components may move the box's faces.
    """

    case_id: str
    segmentation: Path
    box: Box
    grid: Geometry
    target: Path
    wide: bool
    n_components: int


def draw_box(job: DrawJob) -> DrawnBox:
    """The box of a scan's region of interest; the whole scan where the coarse model found nothing.

    Raises:
        SegmentationError: a file is damaged.
    """
    segmentation, _ = read_segmentation(job.coarse)
    grid = read_geometry(job.scan)
    inner = region_of(segmentation, job.region, job.settings.n_components)
    if inner is None:
        return DrawnBox(whole_box(grid.shape), grid, EMPTY)
    return DrawnBox(with_margin(inner, job.settings.margin_mm, grid), grid, None)


def cut_scan(job: CutJob) -> int:
    """Write the box of each channel; the number of files.

    Raises:
        SegmentationError: a file is damaged.
        GeometryMismatch: the box is not inside it.
    """
    for path in job.files:
        crop_file(path, job.box, job.folder / path.name)
    return len(job.files)


def find_touched(job: PasteJob) -> tuple[Face, ...]:
    """The faces of its box that a segmentation's largest components reach, where the scan goes on.

    What is wrongly found at a face is smaller than the organ as a rule; were it to move the face, the
    box would grow to where there is more of it.

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
