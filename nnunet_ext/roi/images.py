"""Crops of image files, in their places in the scanner, and segmentations of crops back in the scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch, SegmentationError, UsageError
from nnunet_ext.files.names import TIF_ENDINGS
from nnunet_ext.images.image import check_image, write_image
from nnunet_ext.nnunet.dataset_json import BACKGROUND
from nnunet_ext.roi.boxes import Box

if TYPE_CHECKING:
    import SimpleITK as sitk

    from nnunet_ext.images.geometry import Geometry


def check_ending(file_ending: str) -> None:
    """Refuse formats that do not hold the geometry of a volume.

    Raises:
        UsageError: it is one of them.
    """
    if file_ending.lower() in TIF_ENDINGS:
        raise UsageError(
            f"Images that end in {file_ending} hold no spacing and origin, and a crop has no place in them; "
            "convert them to .nii.gz or .nrrd."
        )


def read_image(path: Path) -> sitk.Image:
    """An image as it is stored, its type included.

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
    """The box of an image: its voxels keep their values, their type and their place in mm.

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
    """The segmentation of a box in the whole scan, with background around it.

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
