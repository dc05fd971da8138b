"""Facts of an image file, all of whose bytes were read: voxels, and the grid as nnU-Net's readers see it."""

from __future__ import annotations

import locale
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_ext.errors import CannotReadNow, DamagedFile
from nnunet_ext.files.names import check_fetched, check_name, check_regular
from nnunet_ext.images.content import Content, ContentReader
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.nifti import NIFTI_ENDINGS, read_voxel_content
from nnunet_ext.images.plain_images import is_plain, plain_grid

CHUNK_VOXELS = 1 << 20
HEADER_ENDINGS = (".mhd", ".nhdr", ".hdr")  # of headers whose voxels are in another file
NOT_OF_ITS_BYTES = ("unable to open", "could not open", "does not exist", "doesn't exist", "alloc", "memory")


@dataclass(frozen=True)
class ImageFacts:
    """Voxels and grid of an image file.

    Attributes:
        content: summary of the voxels; components, such as colours, are the last axis.
        geometry: grid of the image; None where it has more than three axes.
        components: numbers a voxel; 3 in RGB.
        n_axes: number of axes of the grid.
    """

    content: Content
    geometry: Geometry | None
    components: int
    n_axes: int


def read_image_facts(path: Path, *, is_label: bool) -> ImageFacts:
    """Read every byte of an image.

    NIfTI files are streamed; files of other formats are loaded by SimpleITK, which compares whatever check
    sums they have.

    Args:
        path: the image.
        is_label: whether to count the voxels of each value.

    Raises:
        DamagedFile: the file is empty, truncated, fails a check sum, or holds no image.
        OSError: the system does not let the file be read now, or SimpleITK fails for a reason other
            than its bytes (`CannotReadNow`).
    """
    check_regular(path)
    check_fetched(path)
    check_name(path)
    if path.stat().st_size == 0:
        raise DamagedFile(f"{path} is empty (0 bytes).")
    if path.name.endswith(NIFTI_ENDINGS):
        content = read_voxel_content(path, with_counts=is_label)
        geometry, components, n_axes = _header_of(path)
        return ImageFacts(content, geometry, components, n_axes)
    return _read_by_itk(path, is_label)


def _header_of(path: Path) -> tuple[Geometry | None, int, int]:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _fault_of(path, error) from error
    return _grid(reader, path), reader.GetNumberOfComponents(), reader.GetDimension()


def _read_by_itk(path: Path, is_label: bool) -> ImageFacts:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _fault_of(path, error) from error
    array = sitk.GetArrayViewFromImage(image)
    reader = ContentReader(array.shape, array.dtype, with_counts=is_label)
    flat = array.reshape(-1)
    for start in range(0, flat.size, CHUNK_VOXELS):
        reader.add(flat[start : start + CHUNK_VOXELS])
    return ImageFacts(
        reader.finish(), _grid(image, path), image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    )


def _grid(image: object, path: Path) -> Geometry | None:
    size = image.GetSize()  # type: ignore[attr-defined]
    if len(size) not in (2, 3):
        return None
    if is_plain(path):
        return plain_grid(path, size[::-1])
    geometry = Geometry(
        tuple(size[::-1]),
        tuple(image.GetSpacing()[::-1]),  # type: ignore[attr-defined]
        tuple(image.GetOrigin()),  # type: ignore[attr-defined]
        tuple(image.GetDirection()),  # type: ignore[attr-defined]
    )
    if not np.isfinite((*geometry.spacing, *geometry.origin, *geometry.direction)).all():
        raise DamagedFile(f"its header holds numbers that are not finite: {geometry}")
    return geometry


def _fault_of(path: Path, error: RuntimeError) -> DamagedFile | CannotReadNow:
    """The error of ours for an error of SimpleITK, which has one exception for all reasons.

    A file that SimpleITK could not open, whose voxels are in another file, or for which there was too little
    memory may be whole: that is `CannotReadNow`. Otherwise its bytes are no image: `DamagedFile`.
    """
    reason = str(error).strip().splitlines()[-1]
    told = str(error).replace(str(path), "").lower()
    if path.name.lower().endswith(HEADER_ENDINGS):
        return CannotReadNow(
            f"SimpleITK does not read it, or the file of its voxels: {reason}", "Look at both files"
        )
    if not _is_name_for_itk(path) or any(words in told for words in NOT_OF_ITS_BYTES):
        advice = "Use a short path of plain letters, or fewer processes (-np)"
        return CannotReadNow(f"SimpleITK does not read it now: {reason}", advice)
    return DamagedFile(f"{path} cannot be read as an image: {reason}")


def _is_name_for_itk(path: Path) -> bool:
    """Whether ITK can open a file of that name: on Windows letters outside ASCII may fail."""
    return sys.platform != "win32" or str(path).isascii() or _c_library_takes_utf8()


def _c_library_takes_utf8() -> bool:
    """Whether the C library takes paths as UTF-8, as it does where this package could choose the locale."""
    return locale.setlocale(locale.LC_CTYPE).lower().endswith((".utf8", ".utf-8"))
