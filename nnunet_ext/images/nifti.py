"""The voxels of a NIfTI file, streamed.

Source: the headers nifti1.h and nifti2.h of the NIfTI data format working group.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_ext.errors import DamagedFile
from nnunet_ext.images.content import Content, ContentReader, Scale
from nnunet_ext.images.streams import GZIP_MAGIC, Bytes, plain_blocks

NUMBERS = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
COLOURS = {128: 3, 2304: 4}  # RGB and RGBA, bytes
COMPLEX = {32: "c8", 1792: "c16"}
N_DIMENSIONS = range(1, 8)
NIFTI_ENDINGS = (".nii.gz", ".nii")
BYTES_FOLLOW = "bytes follow behind its voxels"


@dataclass(frozen=True)
class Header:
    """What of a header tells where the voxels are, and what their numbers mean.

    Attributes:
        shape: in the file's order, x first; axes of one voxel at the end are left out beyond three.
        dtype: of a number.
        components: numbers a voxel: 3 in RGB, 4 in RGBA.
        offset: bytes from the beginning of the file to the first voxel.
        scale: what makes values of the numbers.
        stored_scale: slope and intercept as the file holds them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    components: int
    offset: int
    scale: Scale
    stored_scale: tuple[float, float] = (1.0, 0.0)

    @property
    def n_bytes(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.components * self.dtype.itemsize


def read_content(path: Path, *, with_counts: bool = False) -> Content:
    """Read all voxels of a `.nii` or `.nii.gz`.

    Args:
        path: the file.
        with_counts: count each value's voxels, for segmentations.

    Returns:
        What it holds; the shape in the array's order, `(z, y, x)`, with components last.

    Raises:
        DamagedFile: it is empty, truncated, fails its check sum, or is no NIfTI.
    """
    stream = Bytes(plain_blocks(path))
    header = _read_header(stream, path)
    shape = header.shape[::-1] + ((header.components,) if header.components > 1 else ())
    reader = ContentReader(shape, header.dtype, header.scale, with_counts=with_counts)
    n_wanted, n_read = math.prod(shape), 0
    for block in stream.arrays(header.dtype, n_wanted):
        reader.add(block)
        n_read += block.size
    if n_read < n_wanted:
        raise _truncated(path, n_read, n_wanted)
    stream.drain()
    return reader.finish()


def check_whole(path: Path, *, finite: bool = False) -> None:
    """Pass over every byte of a NIfTI file; files of other formats are left to their readers.

    SimpleITK takes what a truncated NIfTI file lacks for zeros, and what is NaN or infinite, too, and says
    nothing.

    Args:
        path: the file.
        finite: refuse voxels that are NaN or infinite.

    Raises:
        DamagedFile: it is empty, truncated, fails its check sum, is no NIfTI, or holds such voxels.
    """
    if not path.name.endswith(NIFTI_ENDINGS):
        return
    stream = Bytes(plain_blocks(path))
    header = _read_header(stream, path)
    n_wanted, n_read, n_odd = math.prod(header.shape) * header.components, 0, 0
    if finite and header.dtype.kind == "f":
        for block in stream.arrays(header.dtype, n_wanted):
            n_read += block.size
            n_odd += block.size - int(np.count_nonzero(np.isfinite(block)))
    n_read += stream.drain() // header.dtype.itemsize
    if n_read < n_wanted:
        raise _truncated(path, n_read, n_wanted)
    if n_odd:
        raise DamagedFile(
            f"{path}: {n_odd} of {n_wanted} voxels are NaN or infinite. Give them a value that has a meaning."
        )


def refusals(path: Path) -> Iterator[str]:
    """Why other readers than ITK refuse a NIfTI file, or find something else in it.

    Args:
        path: a file that is whole.

    Raises:
        DamagedFile: it is truncated, fails its check sum, or is no NIfTI.
    """
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    if is_gzip != path.name.endswith(".gz"):
        yield (
            "it is not gzipped, as .gz says" if not is_gzip else "it is gzipped, and its name does not say so"
        )
    stream = Bytes(plain_blocks(path))
    header = _read_header(stream, path)
    n_more = stream.drain(header.n_bytes + 1) - header.n_bytes
    if n_more > 0:
        yield BYTES_FOLLOW
    slope, inter = header.stored_scale
    if not math.isfinite(slope) or not math.isfinite(inter):
        yield f"its scale is {slope:g} and {inter:g}, which are no numbers to scale by"


def _read_header(stream: Bytes, path: Path) -> Header:
    """The header, with the stream then at the first voxel."""
    start = stream.read(4)
    rest = stream.read(_header_bytes(start, path) - 4)
    header = parse_header(start + rest, path)
    stream.read(header.offset - len(start + rest))
    return header


def _truncated(path: Path, n_read: int, n_wanted: int) -> DamagedFile:
    return DamagedFile(f"{path} is truncated: it holds {n_read} of {n_wanted} voxels.")


def parse_header(data: bytes, path: Path) -> Header:
    """What a header of 348 (NIfTI-1) or 540 bytes (NIfTI-2) says.

    Raises:
        DamagedFile: it is cut short or says what cannot be.
    """
    order = _byte_order(data[:4])
    if order is None or len(data) < struct.unpack(f"{order}i", data[:4])[0]:
        raise DamagedFile(f"{path} is truncated within its header.")
    if len(data) == 348:
        n, *sizes = struct.unpack_from(f"{order}8h", data, 40)
        code, offset = (
            struct.unpack_from(f"{order}h", data, 70)[0],
            struct.unpack_from(f"{order}f", data, 108)[0],
        )
        slope, inter = struct.unpack_from(f"{order}2f", data, 112)
    else:
        n, *sizes = struct.unpack_from(f"{order}8q", data, 16)
        code, offset = (
            struct.unpack_from(f"{order}h", data, 12)[0],
            struct.unpack_from(f"{order}q", data, 168)[0],
        )
        slope, inter = struct.unpack_from(f"{order}2d", data, 176)
    shape = tuple(sizes[:n]) if n in N_DIMENSIONS else ()
    if not shape or min(shape) < 1 or not math.isfinite(offset):
        raise DamagedFile(f"{path} is damaged: its header gives {n} axes of {tuple(sizes)} voxels.")
    return Header(
        _without_ones(shape),
        *_type_of(code, order, path),
        max(int(offset), len(data)),
        _scale(slope, inter),
        (slope, inter),
    )


def _header_bytes(start: bytes, path: Path) -> int:
    order = _byte_order(start)
    if order is None:
        raise DamagedFile(f"{path} is no NIfTI file: it begins with {start!r}.")
    return int(struct.unpack(f"{order}i", start)[0])


def _byte_order(start: bytes) -> str | None:
    for order in "<>":
        if len(start) == 4 and struct.unpack(f"{order}i", start)[0] in (348, 540):
            return order
    return None


def _type_of(code: int, order: str, path: Path) -> tuple[np.dtype, int]:
    if code in COLOURS:
        return np.dtype("u1"), COLOURS[code]
    name = NUMBERS.get(code) or COMPLEX.get(code)
    if name is None:
        raise DamagedFile(f"{path} holds voxels of NIfTI's type {code}, which nnU-Net's readers do not know.")
    return np.dtype(order + name), 1


def _scale(slope: float, inter: float) -> Scale:
    is_set = math.isfinite(slope) and slope != 0.0
    return Scale(slope, inter if math.isfinite(inter) else 0.0) if is_set else Scale()


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
