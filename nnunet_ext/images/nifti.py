"""The voxels of NIfTI files, streamed; their headers are parsed by nibabel.

Source: the headers nifti1.h and nifti2.h of the NIfTI data format working group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from nnunet_ext.errors import DamagedFile
from nnunet_ext.images.content import Content, ContentReader, Scale
from nnunet_ext.images.streams import GZIP_MAGIC, ByteStream, plain_blocks

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

NIFTI_ENDINGS = (".nii.gz", ".nii")
BYTES_FOLLOW = "bytes follow behind its voxels"
N_AXES = range(1, 8)
NUMBERS = "iuf"  # numpy's kinds of numbers that readers know, up to 8 bytes; and complex ones of twice that
MAX_NUMBER_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class VoxelLayout:
    """Where the voxels of a file are, and what their numbers mean.

    Attributes:
        shape: voxels in the file's order, x first; axes of one voxel at the end are left out beyond three.
        dtype: type of a number, in the file's byte order.
        components: numbers a voxel: 3 in RGB, 4 in RGBA.
        offset: bytes from the beginning of the file to the first voxel.
        scale: factor and offset by which readers make values of the numbers.
        stored_scale: slope and intercept as the header holds them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    components: int
    offset: int
    scale: Scale
    stored_scale: tuple[float, float]

    @property
    def n_numbers(self) -> int:
        """Numbers of all voxels."""
        return math.prod(self.shape) * self.components

    @property
    def n_bytes(self) -> int:
        """Bytes of all voxels."""
        return self.n_numbers * self.dtype.itemsize


def read_voxel_content(path: Path, *, with_counts: bool = False) -> Content:
    """Read all voxels of a `.nii` or `.nii.gz`.

    Args:
        path: the file.
        with_counts: whether to count the voxels of each value, as for segmentations.

    Returns:
        Summary of the voxels; the shape in the array's order, `(z, y, x)`, with components last.

    Raises:
        DamagedFile: the file is empty, truncated, fails its check sum, or is no NIfTI.
    """
    stream = ByteStream(plain_blocks(path))
    layout = _read_layout(stream, path)
    shape = layout.shape[::-1] + ((layout.components,) if layout.components > 1 else ())
    reader = ContentReader(shape, layout.dtype, layout.scale, with_counts=with_counts)
    n_read = 0
    for block in stream.arrays(layout.dtype, layout.n_numbers):
        reader.add(block)
        n_read += block.size
    if n_read < layout.n_numbers:
        raise _truncated(path, n_read, layout.n_numbers)
    stream.drain()
    return reader.finish()


def check_whole(path: Path, *, finite: bool = False) -> None:
    """Read every byte of a NIfTI file, and refuse a damaged one; other formats are not looked at.

    SimpleITK reads the missing voxels of a truncated NIfTI file, and NaN and infinite ones, as zeros without
    a warning.

    Args:
        path: the file.
        finite: whether to refuse voxels that are NaN or infinite.

    Raises:
        DamagedFile: the file is empty, truncated, fails its check sum, is no NIfTI, or holds such voxels.
    """
    if not path.name.endswith(NIFTI_ENDINGS):
        return
    stream = ByteStream(plain_blocks(path))
    layout = _read_layout(stream, path)
    n_wanted, n_read, n_not_finite = layout.n_numbers, 0, 0
    if finite and layout.dtype.kind == "f":
        for block in stream.arrays(layout.dtype, n_wanted):
            n_read += block.size
            n_not_finite += block.size - int(np.count_nonzero(np.isfinite(block)))
    n_read += stream.drain() // layout.dtype.itemsize
    if n_read < n_wanted:
        raise _truncated(path, n_read, n_wanted)
    if n_not_finite:
        raise DamagedFile(
            f"{path}: {n_not_finite} of {n_wanted} voxels are NaN or infinite. Give them a value that has a "
            "meaning."
        )


def refusals(path: Path) -> Iterator[str]:
    """Reasons why readers other than ITK refuse a NIfTI file, or read other values from it.

    Args:
        path: a file that is whole.

    Raises:
        DamagedFile: it is truncated, fails its check sum, or is no NIfTI.
    """
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    if is_gzip != path.name.endswith(".gz"):
        yield ("it is gzipped, and its name does not say so" if is_gzip else "it is not gzipped, as .gz says")
    stream = ByteStream(plain_blocks(path))
    layout = _read_layout(stream, path)
    if stream.drain(layout.n_bytes + 1) > layout.n_bytes:
        yield BYTES_FOLLOW
    slope, intercept = layout.stored_scale
    if not math.isfinite(slope) or not math.isfinite(intercept):
        yield f"its scale is {slope:g} and {intercept:g}, which are no numbers to scale by"


def _read_layout(stream: ByteStream, path: Path) -> VoxelLayout:
    """Read the header, and leave the stream at the first voxel."""
    start = stream.read(4)
    _, n_bytes = _order_and_size(start, path)
    data = start + stream.read(n_bytes - len(start))
    layout = parse_header(data, path)
    stream.read(layout.offset - len(data))
    return layout


def parse_header(data: bytes, path: Path) -> VoxelLayout:
    """Parse a header of 348 bytes (NIfTI-1) or 540 bytes (NIfTI-2).

    Args:
        data: the header.
        path: the file, to be named in errors.

    Raises:
        DamagedFile: the header is cut short, or its axes, type or offset cannot be.
    """
    from nibabel.nifti1 import Nifti1Header  # takes a third of a second to import
    from nibabel.nifti2 import Nifti2Header

    order, n_bytes = _order_and_size(data[:4], path)
    if len(data) < n_bytes:
        raise DamagedFile(f"{path} is truncated within its header.")
    kind = Nifti1Header if n_bytes == Nifti1Header.sizeof_hdr else Nifti2Header
    header = kind(data, endianness=order, check=False)
    n_axes, *sizes = map(int, header["dim"])
    shape = tuple(sizes[:n_axes]) if n_axes in N_AXES else ()
    offset, slope, intercept = (float(header[name]) for name in ("vox_offset", "scl_slope", "scl_inter"))
    if not shape or min(shape) < 1 or not math.isfinite(offset):
        raise DamagedFile(f"{path} is damaged: its header gives {n_axes} axes of {tuple(sizes)} voxels.")
    dtype, components = _type_of(header, path)
    return VoxelLayout(
        shape=_without_ones(shape),
        dtype=dtype,
        components=components,
        offset=max(int(header["vox_offset"]), n_bytes),
        scale=_scale(slope, intercept),
        stored_scale=(slope, intercept),
    )


def _order_and_size(start: bytes, path: Path) -> tuple[Literal["<", ">"], int]:
    """The byte order of a header, and its size, which its first four bytes give."""
    for name, order in (("little", "<"), ("big", ">")):
        size = int.from_bytes(start, name)  # type: ignore[arg-type]
        if len(start) == 4 and size in (348, 540):
            return order, size  # type: ignore[return-value]
    raise DamagedFile(f"{path} is no NIfTI file: it begins with {start!r}.")


def _type_of(header: Nifti1Header, path: Path) -> tuple[np.dtype, int]:
    """The type of a number, and how many a voxel has."""
    code = int(header["datatype"])
    try:
        dtype = header.get_data_dtype()
    except KeyError:
        dtype = np.dtype("V")
    if dtype.names:
        return np.dtype("u1"), len(dtype.names)  # RGB or RGBA
    is_known = dtype.kind in NUMBERS and dtype.itemsize <= MAX_NUMBER_BYTES
    if not is_known and not (dtype.kind == "c" and dtype.itemsize <= 2 * MAX_NUMBER_BYTES):
        raise DamagedFile(f"{path} holds voxels of NIfTI's type {code}, which nnU-Net's readers do not know.")
    return dtype, 1


def _scale(slope: float, intercept: float) -> Scale:
    """The scale by which ITK reads: none where the slope is 0 or no number."""
    if not math.isfinite(slope) or slope == 0.0:
        return Scale()
    return Scale(slope, intercept if math.isfinite(intercept) else 0.0)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _truncated(path: Path, n_read: int, n_wanted: int) -> DamagedFile:
    return DamagedFile(f"{path} is truncated: it holds {n_read} of {n_wanted} voxels.")
