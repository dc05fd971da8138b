"""nnU-Net's `CASE.npz`, inflated block by block while it is read, never whole.

Source: the zip format (PKWARE APPNOTE 6.3.10, 4.3.7 local file header) and numpy's npy format.
"""

from __future__ import annotations

import hashlib
import io
import math
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import igzip_lib, isal_zlib

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.geometry import Geometry
from nnunet_ext.labels import Labels
from nnunet_ext.probabilities.stream import Block, Layout, blocks_of

KEY = "probabilities"
READ_BYTES = 1 << 18  # stays in the cache while it is hashed and inflated
LOCAL_HEADER_BYTES = 30
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpzProbabilities:
    """The probabilities of one case in one file, read as a stream.

    Attributes:
        path: the file.
        shape: `(L, Z, Y, X)`.
        dtype: as stored: float32 in nnU-Net's files; float16 and float64 are read as float32.
        labels, geometry: None, since the file does not tell them.
        sha256: of the whole file, once all blocks were read; None before.

    Raises:
        ProbabilitiesError: when made: the file is missing, truncated, or holds no floating-point
            array named `probabilities`; while read: its bytes are damaged.
    """

    labels: Labels | None = None
    geometry: Geometry | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256: str | None = None
        self._entry = self._find_entry()
        with path.open("rb") as file:
            self.shape, self._fortran, self.dtype = self._read_header(_Inflated(file, self._entry, path))
        if self.dtype.kind != "f" or len(self.shape) not in (3, 4):
            raise ProbabilitiesError(
                f"{path} holds {self.dtype} of shape {self.shape}; probabilities are floating-point "
                "numbers of shape (labels, Z, Y, X)."
            )

    def layout(self) -> Layout:
        """How the blocks of this file are cut unless asked for otherwise."""
        return Layout(self.shape[0], self.shape[1:])

    def blocks(self, layout: Layout | None = None) -> Iterator[Block]:
        """All blocks in the order of `layout.pieces()`; the file is open while they are read."""
        layout = layout or self.layout()
        with self.path.open("rb") as file:
            inflated = _Inflated(file, self._entry, self.path)
            self._read_header(inflated)
            if self._fortran:
                yield from self._blocks_at_once(inflated, layout)
            else:
                for piece in layout.pieces():
                    block = np.empty(piece.voxels.stop - piece.voxels.start, self.dtype)
                    inflated.read_into(block.view(np.uint8).data)
                    yield block.astype(np.float32, copy=False)
            self.sha256 = inflated.finish()

    def _blocks_at_once(self, inflated: _Inflated, layout: Layout) -> Iterator[Block]:
        # numpy stores a single channel with reversed axes this way; its labels are not in order on disk.
        array = np.empty(self.shape[::-1], self.dtype)
        inflated.read_into(array.reshape(-1).view(np.uint8).data)
        yield from blocks_of(np.ascontiguousarray(array.T), layout)

    def _find_entry(self) -> zipfile.ZipInfo:
        try:
            with zipfile.ZipFile(self.path) as archive:
                entries = {info.filename: info for info in archive.infolist()}
        except FileNotFoundError:
            raise ProbabilitiesError(f"{self.path} does not exist.") from None
        except zipfile.BadZipFile as error:
            raise ProbabilitiesError(
                f"{self.path} ({self.path.stat().st_size} bytes) is truncated or no npz file: {error}. "
                "Predict that case again with --save_probabilities."
            ) from error
        entry = entries.get(f"{KEY}.npy")
        if entry is None:
            raise ProbabilitiesError(f"{self.path} holds {sorted(entries)} but no '{KEY}.npy'.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ProbabilitiesError(f"{self.path} is compressed in a way that numpy does not write.")
        return entry

    def _read_header(self, inflated: _Inflated) -> tuple[tuple[int, ...], bool, np.dtype]:
        try:
            version = np.lib.format.read_magic(inflated)
            shape, fortran, dtype = HEADER_READERS[version](inflated)
        except (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError) as error:
            raise ProbabilitiesError(f"{self.path}: '{KEY}' is no npy array: {error}") from error
        n_bytes = math.prod(shape) * dtype.itemsize
        if inflated.n_produced + n_bytes != self._entry.file_size and not dtype.hasobject:
            raise ProbabilitiesError(
                f"{self.path} is damaged: {dtype} of shape {shape} takes {n_bytes} bytes, but it holds "
                f"{self._entry.file_size - inflated.n_produced}."
            )
        return shape, fortran, dtype


class _Inflated(io.RawIOBase):
    """The bytes of one entry of a zip file, inflated; hashes every byte of the file it passes.

    Attributes:
        n_produced: inflated bytes handed out so far.
    """

    def __init__(self, file: BinaryIO, entry: zipfile.ZipInfo, path: Path) -> None:
        self._file, self._entry, self._path = file, entry, path
        self._digest = hashlib.sha256()
        self._crc = 0
        self.n_produced = 0
        self._read_file(entry.header_offset)
        header = self._read_file(LOCAL_HEADER_BYTES)
        self._read_file(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"))
        self._left = entry.compress_size
        stored = entry.compress_type == zipfile.ZIP_STORED
        self._inflater = None if stored else igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes; numpy's readers of headers ask for few."""
        block = bytearray(size)
        self.read_into(memoryview(block))
        return bytes(block)

    def read_into(self, target: memoryview) -> None:
        """Fill `target`; an entry that ends before is damaged."""
        position = 0
        while position < len(target):
            out = self._next_bytes(len(target) - position)
            target[position : position + len(out)] = out
            position += len(out)
        self._crc = isal_zlib.crc32(target, self._crc)
        self.n_produced += position

    def finish(self) -> str:
        """Check size and CRC at the end of the entry, and return the SHA-256 of the whole file."""
        if self.n_produced != self._entry.file_size or self._crc != self._entry.CRC:
            raise self._damaged(
                f"CRC {self._crc:08x} of {self.n_produced} bytes instead of {self._entry.CRC:08x} of "
                f"{self._entry.file_size}"
            )
        while self._read_file(READ_BYTES):
            pass
        return self._digest.hexdigest()

    def _next_bytes(self, limit: int) -> bytes:
        try:
            if self._inflater is None:
                out = self._read_compressed(limit)
            else:
                source = self._read_compressed(READ_BYTES) if self._inflater.needs_input else b""
                out = self._inflater.decompress(source, limit)
                while not out and not self._inflater.eof and self._left:
                    out = self._inflater.decompress(self._read_compressed(READ_BYTES), limit)
        except (isal_zlib.error, EOFError) as error:  # type: ignore[misc]  # its stub is an instance
            raise self._damaged(str(error)) from error
        if not out:
            raise self._damaged(f"it ends after {self.n_produced} of {self._entry.file_size} bytes")
        return out

    def _read_compressed(self, limit: int) -> bytes:
        chunk = self._read_file(min(limit, self._left))
        self._left -= len(chunk)
        return chunk

    def _read_file(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self._digest.update(chunk)
        return chunk

    def _damaged(self, reason: str) -> ProbabilitiesError:
        return ProbabilitiesError(
            f"{self._path} is damaged: {reason}. Predict that case again with --save_probabilities."
        )
