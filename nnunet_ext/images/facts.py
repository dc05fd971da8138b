"""An image file, read wholly: its grid as nnU-Net's reader sees it, and what its voxels are."""

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
from nnunet_ext.images.nifti import NIFTI_ENDINGS, read_content
from nnunet_ext.images.plain_images import is_plain, plain_grid

CHUNK_VOXELS = 1 << 20
OF_SEVERAL_FILES = (".mhd", ".nhdr", ".hdr")
NOT_OF_ITS_BYTES = ("unable to open", "could not open", "does not exist", "doesn't exist", "alloc", "memory")


@dataclass(frozen=True)
class ImageFacts:
    """What there is to know of an image file.

    Attributes:
        content: its voxels; components, such as colours, are the last axis.
        geometry: its grid; None where it has more than three axes.
        components: numbers a voxel; 3 in RGB.
        n_axes: axes of the grid.
    """

    content: Content
    geometry: Geometry | None
    components: int
    n_axes: int


def read_image_facts(path: Path, *, is_label: bool) -> ImageFacts:
    """Read every byte of an image.

    NIfTI is streamed; other formats are read whole by SimpleITK, which checks what they allow.

    Args:
        path: the image.
        is_label: count the voxels of each value.

    Raises:
        DamagedFile: it is empty, truncated, fails a check sum, or holds no image.
        OSError: the system, or SimpleITK for a reason of its own, does not read it now.
    """
    check_regular(path)
    check_fetched(path)
    check_name(path)
    if path.stat().st_size == 0:
        raise DamagedFile(f"{path} is empty (0 bytes).")
    if path.name.endswith(NIFTI_ENDINGS):
        content = read_content(path, with_counts=is_label)
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
    """What an error of SimpleITK tells of a file: that its bytes are no image, or nothing.

    It has one exception for all. A file that it did not get hold of, whose data lie in another file, or
    for which memory was lacking may be whole.
    """
    reason = str(error).strip().splitlines()[-1]
    told = str(error).replace(str(path), "").lower()
    if path.name.lower().endswith(OF_SEVERAL_FILES):
        return CannotReadNow(
            f"SimpleITK does not read it, or the file of its voxels: {reason}", "Look at both files"
        )
    if not _is_name_for_itk(path) or any(words in told for words in NOT_OF_ITS_BYTES):
        advice = "Use a short path of plain letters, or fewer processes (-np)"
        return CannotReadNow(f"SimpleITK does not read it now: {reason}", advice)
    return DamagedFile(f"{path} cannot be read as an image: {reason}")


def _is_name_for_itk(path: Path) -> bool:
    """Whether ITK can open a file of that name: on Windows it may fail at letters outside ASCII."""
    return sys.platform != "win32" or str(path).isascii() or _c_library_takes_utf8()


def _c_library_takes_utf8() -> bool:
    """Whether paths may hold all letters, as they may where this package could choose the locale."""
    return locale.setlocale(locale.LC_CTYPE).lower().endswith((".utf8", ".utf-8"))
