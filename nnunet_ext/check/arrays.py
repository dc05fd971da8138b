"""Arrays of nnU-Net's preprocessed cases and predictions: npz, npy and b2nd, read to their last byte."""

from __future__ import annotations

import math
import tokenize
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nnunet_ext.errors import DamagedFile, is_system_error
from nnunet_ext.files.names import check_name
from nnunet_ext.images.content import Content, ContentReader
from nnunet_ext.images.streams import ByteStream, entry_blocks, zip_entries

HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
READ_BYTES = 1 << 20
BLOCK_VALUES = 1 << 22


def read_npz(path: Path) -> dict[str, Content]:
    """Read every array of an npz, by its name; the voxels of each value are counted in `seg`.

    Raises:
        DamagedFile: a check sum is wrong, or an entry is no array or one of Python objects.
    """
    found = {}
    with path.open("rb") as file:
        for entry in zip_entries(path):
            name = entry.filename.removesuffix(".npy")
            stream = ByteStream(entry_blocks(file, entry, path))
            found[name] = _read_stream(stream, f"{path}: {entry.filename}", with_counts=name == "seg")
    return found


def read_npy(path: Path) -> Content:
    """Read an npy; the voxels of each value are counted in `CASE_seg.npy`.

    Raises:
        DamagedFile: it is truncated or longer than its header says, no array, or one of objects.
    """
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(READ_BYTES), b"")
        return _read_stream(ByteStream(blocks), str(path), with_counts=path.stem.endswith("_seg"))


def read_b2nd(path: Path) -> Content:
    """Read every chunk of a b2nd; the voxels of each value are counted in `CASE_seg.b2nd`.

    Blosc2 keeps no check sums, so damage that still decompresses to numbers is not found.

    Raises:
        DamagedFile: it is empty, truncated, or a chunk cannot be decompressed.
        OSError, MemoryError: the system does not let it be read now.
    """
    import blosc2

    check_name(path)
    size = path.stat().st_size
    if not size:
        raise DamagedFile(f"{path} is empty (0 bytes).")
    if _frame_bytes(path) > size:
        raise DamagedFile(f"{path} is truncated: it has {size} of {_frame_bytes(path)} bytes.")
    try:
        array = blosc2.open(urlpath=str(path), mode="r", dparams={"nthreads": 1})
        reader = ContentReader(array.shape, array.dtype, with_counts=path.stem.endswith("_seg"))
        for start, stop in _slabs(array.shape, array.chunks):
            reader.add(array[start:stop] if len(array.shape) < 2 else array[:, start:stop])
    except Exception as error:  # damaged frames raise almost anything
        if is_system_error(error):
            raise
        raise DamagedFile(f"{path} ({size} bytes) is damaged: {error or type(error).__name__}.") from error
    return reader.finish()


def _frame_bytes(path: Path) -> int:
    """The length of a contiguous Blosc2 frame by its header; 0 of other files.

    Source: the Blosc2 contiguous frame format, `frame_size` at byte 16, big endian after a marker.
    """
    with path.open("rb") as file:
        head = file.read(25)
    return int.from_bytes(head[16:24], "big") if head[2:9] == b"b2frame" else 0


def _slabs(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Bounds of slabs along the second axis (of 1D arrays the first), of whole chunks and bounded size."""
    axis = min(1, len(shape) - 1)
    per_row = math.prod(shape) // max(shape[axis], 1)
    step = max(chunks[axis], BLOCK_VALUES // max(per_row, 1) // chunks[axis] * chunks[axis])
    for start in range(0, shape[axis], step):
        yield start, min(start + step, shape[axis])


def _read_stream(stream: ByteStream, what: str, *, with_counts: bool) -> Content:
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = HEADER_READERS[version](stream)
    except (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError) as error:
        stream.drain()  # raises where a check sum is wrong, which is the better reason
        raise DamagedFile(f"{what} is no npy array: {error}.") from error
    if dtype.hasobject:
        raise DamagedFile(f"{what} holds Python objects, which are not read: they could run anything.")
    reader = ContentReader(shape, dtype, with_counts=with_counts)
    n_wanted = math.prod(shape)
    n_read = 0
    for block in stream.arrays(dtype, n_wanted):
        reader.add(block)
        n_read += block.size
    n_more = stream.drain()
    if n_read != n_wanted or n_more:
        raise DamagedFile(f"{what} holds {n_read} of {n_wanted} numbers, and {n_more} bytes beyond them.")
    return reader.finish()
