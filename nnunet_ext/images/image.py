"""Segmentations and scans, read from image files and written to them by SimpleITK."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import CannotReadNow, DamagedFile, GeometryMismatch, SegmentationError
from nnunet_ext.files.names import TIF_ENDINGS, check_fetched, check_name, check_regular
from nnunet_ext.files.whole import not_written_whole, place, scratch_folder
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.nifti import NIFTI_ENDINGS, check_whole
from nnunet_ext.images.plain_images import is_plain, plain_grid, write_spacing

if TYPE_CHECKING:
    import SimpleITK as sitk

INTEGER_TOLERANCE = 1e-3


def check_image_name(path: Path) -> None:
    """Refuse a file name that ITK cannot open.

    Raises:
        SegmentationError: the name is not UTF-8, or too long for Windows.
    """
    try:
        check_name(path)
    except CannotReadNow as error:
        raise SegmentationError(str(error)) from error


def check_image(path: Path, *, whole: bool = True, finite: bool = False) -> None:
    """Refuse an image file that SimpleITK and nnU-Net's readers misread or wait for without end.

    Args:
        path: the image.
        whole: whether to read a NIfTI file to its end, to find that it is truncated.
        finite: whether to refuse voxels that are NaN or infinite, which SimpleITK takes for zeros.

    Raises:
        SegmentationError: the file is missing, no regular file, truncated, or has a name that is not UTF-8.
        OSError: the system does not let it be read now.
    """
    check_image_name(path)
    try:
        check_regular(path)
        check_fetched(path)
        if whole:
            check_whole(path, finite=finite)
    except FileNotFoundError:
        raise SegmentationError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise SegmentationError(f"{path} is a folder, where a file is wanted.") from None
    except (CannotReadNow, DamagedFile) as error:
        raise SegmentationError(str(error)) from error


def segmentation_type(values: Iterable[int]) -> np.dtype[np.unsignedinteger[Any]]:
    """The smaller of uint8 and uint16 that holds all of these labels."""
    return np.dtype(np.uint8 if max(values) <= np.iinfo(np.uint8).max else np.uint16)


def read_geometry(path: Path) -> Geometry:
    """Read the grid of an image file, from its header alone.

    Raises:
        SegmentationError: the file is missing, damaged, or neither 2D nor 3D.
    """
    return _geometry_of(_open(path, header_only=True), path)


def read_n_components(path: Path) -> int:
    """Numbers that each voxel of an image has, from its header alone: 3 of RGB.

    Raises:
        SegmentationError: the file is missing or damaged.
    """
    return int(_open(path, header_only=True).GetNumberOfComponents())


def read_segmentation(path: Path) -> tuple[NDArray[Any], Geometry]:
    """Read an image of labels as it is stored, whatever its type.

    Returns:
        The array, `(Z, Y, X)` or `(Y, X)`, and the grid.

    Raises:
        SegmentationError: the file is missing, damaged, neither 2D nor 3D, in colours, or holds voxels
            that are NaN or infinite.
    """
    check_image(path, finite=True)
    array, geometry = _read(path)
    if array.ndim > len(geometry.shape):
        raise SegmentationError(
            f"{path} has {array.shape[-1]} values a voxel, as a picture in colours; a segmentation has one. "
            "Save it with its labels alone."
        )
    return array, geometry


def read_voxels(path: Path) -> tuple[NDArray[Any], Geometry]:
    """Read an image of any kind as it is stored.

    Returns:
        The array, `(Z, Y, X)` or `(Y, X)`, and its grid.

    Raises:
        SegmentationError: the file is missing, damaged, or neither 2D nor 3D.
    """
    check_image(path)
    return _read(path)


def as_labels(array: NDArray[Any], what: str) -> NDArray[np.integer[Any]]:
    """Integer labels from an array of any type: 1.00000002 becomes 1, and 1.2 is an error.

    Args:
        array: labels, of any shape and type.
        what: name of the array for the message.

    Returns:
        The array itself where it holds integers, otherwise a rounded copy.

    Raises:
        SegmentationError: a value is not finite or further than 1e-3 from an integer.
    """
    if array.dtype.kind in "iu":
        return array
    if not np.isfinite(array).all():
        raise SegmentationError(f"{what} holds values that are not finite.")
    rounded = np.rint(array)
    off = np.abs(array - rounded) > INTEGER_TOLERANCE
    if off.any():
        raise SegmentationError(
            f"{what} holds {array[off].flat[0]:g}, which is no label: labels are integers. Save it as whole "
            "numbers, without a scale or smoothed edges."
        )
    return rounded.astype(np.int64)


def write_segmentation(
    segmentation: NDArray[np.integer[Any]], geometry: Geometry, path: Path, *, wide: bool = False
) -> None:
    """Write a segmentation as uint8 with the given grid, whole or not at all.

    The spacing of a TIFF volume is written to `CASE.json` beside it, where nnU-Net's reader looks for it.

    Args:
        segmentation: labels, `(Z, Y, X)`, or for a 2D grid `(Y, X)` or `(1, Y, X)`.
        geometry: the grid of the scan.
        path: the file; its ending chooses the format.
        wide: whether to write uint16, for labels above 255.

    Raises:
        GeometryMismatch: the array's shape is not the grid's.
        SegmentationError: a label is negative or too large for the type.
    """
    import SimpleITK as sitk

    if segmentation.shape == (1, *geometry.shape):
        segmentation = segmentation[0]
    if segmentation.shape != geometry.shape:
        raise GeometryMismatch(
            f"{path.name}: the segmentation has shape {segmentation.shape}, the scan {geometry.shape}."
        )
    dtype = np.uint16 if wide else np.uint8
    lowest, highest = (int(segmentation.min()), int(segmentation.max())) if segmentation.size else (0, 0)
    if lowest < 0 or highest > np.iinfo(dtype).max:
        hint = "" if wide or lowest < 0 else " Ask for uint16 with --uint16."
        raise SegmentationError(
            f"{path.name}: labels run from {lowest} to {highest}, which {np.dtype(dtype)} cannot hold.{hint}"
        )
    image = sitk.GetImageFromArray(segmentation.astype(dtype, copy=False))
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    if len(geometry.shape) == 3 and path.name.lower().endswith(TIF_ENDINGS):
        write_spacing(path, geometry.spacing)
    write_image(image, path)


def write_image(image: sitk.Image, path: Path) -> None:
    """Write an image, whole or not at all: the file is read back before it gets its name.

    On a full disk ITK's writers leave half a file, and most of them report no error.

    Raises:
        OSError: the image cannot be written, or other voxels are read back.
        SegmentationError: the file's name is not UTF-8.
    """
    import SimpleITK as sitk

    check_image_name(path)
    ending = next((one for one in NIFTI_ENDINGS if path.name.endswith(one)), path.suffix)
    with scratch_folder(path) as folder:
        part = folder / f"image{ending}"  # ITK writes `a.nii.nii.gz` under another name
        check_name(part)
        try:
            sitk.WriteImage(image, str(part), True)
            is_whole = _is_written_whole(image, part)
        except (RuntimeError, SegmentationError) as error:
            reason = str(error).strip().splitlines()[-1].replace(str(part), path.name)
            raise not_written_whole(path, reason) from error
        if not is_whole:
            raise not_written_whole(path, "other voxels were read back")
        place(part, path)


def _is_written_whole(image: sitk.Image, part: Path) -> bool:
    import SimpleITK as sitk

    check_image(part)
    if not part.name.endswith(NIFTI_ENDINGS):  # the bytes of NIfTI files were all checked by check_image
        back = sitk.GetArrayFromImage(_open(part))
        return np.array_equal(back.reshape(-1), sitk.GetArrayViewFromImage(image).reshape(-1), equal_nan=True)
    size = _open(part, header_only=True).GetSize()
    return [n for n in size if n > 1] == [n for n in image.GetSize() if n > 1]


def _read(path: Path) -> tuple[NDArray[Any], Geometry]:
    import SimpleITK as sitk

    image = _open(path)
    array, geometry = sitk.GetArrayFromImage(image), _geometry_of(image, path)
    return array.reshape(geometry.shape + array.shape[image.GetDimension() :]), geometry


def _open(path: Path, *, header_only: bool = False) -> sitk.Image | sitk.ImageFileReader:
    import SimpleITK as sitk

    check_image(path, whole=False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        if header_only:
            reader.ReadImageInformation()
            return reader
        return reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SegmentationError(f"{path} cannot be read as an image: {reason}") from error


def _geometry_of(image: sitk.Image | sitk.ImageFileReader, path: Path) -> Geometry:
    size = image.GetSize()
    if len(size) not in (2, 3):
        raise SegmentationError(f"{path} has {len(size)} axes; a segmentation has 2 or 3.")
    if is_plain(path):
        try:
            return plain_grid(path, size[::-1])
        except DamagedFile as error:
            raise SegmentationError(str(error)) from error
    return Geometry(
        tuple(size[::-1]), tuple(image.GetSpacing()[::-1]), image.GetOrigin(), image.GetDirection()
    )
