"""nnU-Net's `CASE.npz`, read and written as a stream: block by block, never whole."""

from __future__ import annotations

import hashlib
import io
import math
import tempfile
import tokenize
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from nnunet_ext.errors import DamagedFile, ProbabilitiesError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.images.streams import ZipEntry, zip_entries
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.probabilities.placement import Placement
from nnunet_ext.probabilities.stream import BLOCK_VOXELS, Block, Layout, blocks_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

KEY = "probabilities"
READ_BYTES = 1 << 18
COMPRESS_LEVEL = 1  # higher levels take many times as long and save a few percent
AGAIN = "Predict that case again with --save_probabilities."
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpzProbabilities:
    """The probabilities of one case in one npz file, read as a stream.

    Attributes:
        path: the file.
        shape: `(L, Z, Y, X)`.
        dtype: type of the stored numbers, float32 in nnU-Net's files; others are read as float32.
        labels, placement: None, since the file does not tell them.
        sha256: SHA-256 of the whole file, once all blocks were read; None before.

    Raises:
        ProbabilitiesError: when made: the file is missing, truncated, or holds no floating-point
            array named `probabilities`; while read: its bytes are damaged.
    """

    labels: Labels | None = None
    placement: Placement | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256: str | None = None
        self._entry = self._find_entry()
        with self._opened() as (_, content):
            self.shape, self._fortran, self.dtype = self._read_header(content)
        if self.dtype.kind != "f" or len(self.shape) not in (3, 4):
            raise ProbabilitiesError(
                f"{path} holds {self.dtype} of shape {self.shape}; probabilities are floating-point "
                "numbers of shape (labels, Z, Y, X)."
            )

    def layout(self) -> Layout:
        """Return how the blocks of this file are cut unless another layout is given."""
        return Layout(self.shape[0], self.shape[1:])

    def blocks(self, layout: Layout | None = None) -> Iterator[Block]:
        """Yield all blocks in the order of `layout.pieces()`; the file is open while they are read."""
        layout = layout or self.layout()
        with self._opened() as (file, content):
            self._read_header(content)
            if self._fortran:
                yield from self._blocks_at_once(content, layout)
            else:
                for _, voxels in layout.pieces():
                    yield self._numbers(content, voxels.stop - voxels.start)
            content.finish()
            self.sha256 = file.finish()

    def _blocks_at_once(self, content: ZipEntry, layout: Layout) -> Iterator[Block]:
        # numpy stores a single channel with reversed axes this way; its labels are not in order on disk.
        array = self._numbers(content, math.prod(self.shape)).reshape(self.shape[::-1])
        yield from blocks_of(np.ascontiguousarray(array.T), layout)

    def _numbers(self, content: ZipEntry, n: int) -> Block:
        data = content.read(n * self.dtype.itemsize)
        if len(data) < n * self.dtype.itemsize:
            content.finish()  # raises an error with the number of bytes
        return np.frombuffer(data, self.dtype).astype(np.float32, copy=False)

    @contextmanager
    def _opened(self) -> Iterator[tuple[_Hashed, ZipEntry]]:
        """Open the file and its entry; damage is raised as an error of probabilities."""
        try:
            with self.path.open("rb") as file:
                hashed = _Hashed(file)
                hashed.read(self._entry.header_offset)
                yield hashed, ZipEntry(hashed, self._entry, self.path)
        except DamagedFile as error:
            raise ProbabilitiesError(f"{error} {AGAIN}") from error

    def _find_entry(self) -> zipfile.ZipInfo:
        try:
            entries = {entry.filename: entry for entry in zip_entries(self.path)}
        except FileNotFoundError:
            raise ProbabilitiesError(f"{self.path} does not exist.") from None
        except DamagedFile as error:
            raise ProbabilitiesError(f"{error} {AGAIN}") from error
        entry = entries.get(f"{KEY}.npy")
        if entry is None:
            raise ProbabilitiesError(f"{self.path} holds {sorted(entries)} but no '{KEY}.npy'.")
        return entry

    def _read_header(self, content: ZipEntry) -> tuple[tuple[int, ...], bool, np.dtype]:
        try:
            version = np.lib.format.read_magic(content)
            shape, fortran, dtype = HEADER_READERS[version](content)
        except (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError) as error:
            raise ProbabilitiesError(f"{self.path}: '{KEY}' is no npy array: {error}") from error
        n_bytes = math.prod(shape) * dtype.itemsize
        if content.n_read + n_bytes != self._entry.file_size and not dtype.hasobject:
            raise ProbabilitiesError(
                f"{self.path} is damaged: {dtype} of shape {shape} takes {n_bytes} bytes, but it holds "
                f"{self._entry.file_size - content.n_read}."
            )
        return shape, fortran, dtype


class _Hashed(io.RawIOBase):
    """A file whose bytes are hashed while they are read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer) -> int:
        n_bytes = self._file.readinto(target)
        self._digest.update(memoryview(target)[:n_bytes])
        return n_bytes

    def finish(self) -> str:
        """Read on to the end, and return the SHA-256 of all bytes."""
        while self.read(READ_BYTES):
            pass
        return self._digest.hexdigest()


def write_npz(path: Path, blocks: Iterable[Block], shape: tuple[int, ...]) -> None:
    """Write what `np.savez_compressed(path, probabilities=…)` writes.

    Args:
        path: the file.
        blocks: label after label in C order, cut in any way.
        shape: `(L, Z, Y, X)`.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESS_LEVEL) as archive,
        archive.open(f"{KEY}.npy", "w", force_zip64=True) as entry,
    ):
        np.lib.format.write_array_header_1_0(entry, header)
        for block in blocks:
            entry.write(block.astype("<f4", copy=False).data.cast("B"))


def write_npz_by_planes(target: Path, planes: Iterable[Block], shape: tuple[int, ...]) -> None:
    """Write probabilities of which all labels come together, whole or not at all.

    An npz holds label after label, so that all lie in a file without a name until the last planes are there.

    Args:
        target: the file.
        planes: `(L, n, Y, X)` each, in order; any `n`.
        shape: `(L, Z, Y, X)`.
    """
    n_voxels, position = math.prod(shape[1:]), 0
    with written_whole(target) as part, tempfile.TemporaryFile(dir=target.parent) as file:
        for some in planes:
            of_labels = some.reshape(shape[0], -1)
            for label, values in enumerate(of_labels):
                file.seek(4 * (label * n_voxels + position))
                file.write(np.ascontiguousarray(values, "<f4").data)
            position += of_labels.shape[1]
        file.seek(0)
        write_npz(part, _blocks_in(file, shape[0] * n_voxels), shape)


def _blocks_in(file: IO[bytes], n_values: int) -> Iterator[Block]:
    for start in range(0, n_values, BLOCK_VOXELS):
        yield np.frombuffer(file.read(4 * min(BLOCK_VOXELS, n_values - start)), "<f4")
