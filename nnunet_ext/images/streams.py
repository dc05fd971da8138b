"""Streams of bytes from plain, gzip and zip files, inflated in one place, with their check sums compared.

`plain_blocks` gives the bytes of a file that may be gzipped, `entry_blocks` the bytes of one entry of a zip,
both in blocks of bounded size; `ByteStream` reads exact numbers of bytes or arrays from such blocks. The
deflated data of a zip entry are those of a gzip file: with a gzip header and trailer around them, igzip
inflates the entry and compares its check sum.

Source: the zip format (PKWARE APPNOTE 6.3.10, 4.3.7 local file header) and the gzip format (RFC 1952, 2.3).
"""

from __future__ import annotations

import gzip
import io
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from nnunet_ext.errors import DamagedFile
from nnunet_ext.files.names import check_fetched, check_regular

if TYPE_CHECKING:
    from typing_extensions import Buffer

GZIP_MAGIC = b"\x1f\x8b"
GZIP_HEADER = GZIP_MAGIC + b"\x08" + bytes(7)  # deflate, no flags, no time
GZIP_TRAILER = struct.Struct("<II")  # CRC-32 and length, both modulo 2^32
LOCAL_HEADER_BYTES = 30
LOCAL_MAGIC = b"PK\x03\x04"
UTF8_FLAG = 0x800
BLOCK_BYTES = 1 << 20


def plain_blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file in blocks, inflated where the file begins as gzip does, whatever its name.

    Raises:
        DamagedFile: the file is empty, or its gzip stream is truncated, fails its check sum, or is followed
            by other bytes.
    """
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if not magic:
            raise DamagedFile(f"{path} is empty (0 bytes).")
        content = igzip.IGzipFile(fileobj=file, mode="rb") if magic == GZIP_MAGIC else file
        try:
            while block := content.read(BLOCK_BYTES):
                yield block
        except EOFError as error:
            raise DamagedFile(f"{path} is truncated, or followed by bytes that are no gzip.") from error
        except (gzip.BadGzipFile, isal_zlib.error) as error:  # type: ignore[misc]  # its stub is an instance
            raise DamagedFile(f"{path} is damaged, its gzip stream: {error}.") from error


def zip_entries(path: Path) -> list[zipfile.ZipInfo]:
    """The entries of a zip, in the order of their places in the file.

    Raises:
        DamagedFile: it is no regular file, is empty, truncated or no zip, or an entry is compressed by a
            method that neither numpy nor torch writes.
        CannotReadNow: the file is a pointer of Git LFS.
    """
    check_regular(path)
    check_fetched(path)
    size = path.stat().st_size
    if not size:
        raise DamagedFile(f"{path} is empty (0 bytes).")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, EOFError) as error:
        raise DamagedFile(f"{path} ({size} bytes) is truncated or damaged: {error}.") from error
    if any(not 0 <= entry.header_offset < size for entry in entries):
        raise DamagedFile(f"{path} is damaged: its directory names places outside of its {size} bytes.")
    unknown = [
        e.filename for e in entries if e.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ]
    if unknown:
        raise DamagedFile(
            f"{path} holds {unknown[0]}, compressed in a way that numpy and torch do not write."
        )
    return entries


def entry_blocks(file: io.BufferedReader, entry: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    """The bytes of one entry of a zip in blocks; size and check sum are compared at the end.

    Raises:
        DamagedFile: size or check sum are not those in the zip's directory, or the entry cannot be inflated.
    """
    file.seek(entry.header_offset)
    content = ZipEntry(file, entry, path)
    while block := content.read(BLOCK_BYTES):
        yield block
    content.finish()


class ZipEntry:
    """One entry of a zip file, read from its first byte to its last.

    Attributes:
        n_read: inflated bytes read so far.

    Args:
        file: the zip, positioned at the entry.
        entry: the entry in the zip's directory.
        path: path of the zip, to be named in errors.

    Raises:
        DamagedFile: also while reading: the entry is not as the directory says, or cannot be inflated.
    """

    def __init__(self, file: io.BufferedReader | io.RawIOBase, entry: zipfile.ZipInfo, path: Path) -> None:
        self._entry, self._path = entry, path
        self.n_read = self._crc = 0
        raw = _RawEntry(file, entry)
        if not raw.is_in_place:
            raise DamagedFile(f"{path} is damaged: {entry.filename} is not where its directory says.")
        self._stored = entry.compress_type == zipfile.ZIP_STORED
        self._source = raw if self._stored else igzip.IGzipFile(fileobj=raw, mode="rb")

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, or fewer where the entry ends; all that are left where it is -1."""
        try:
            data: bytes = self._source.read(size)
        except (gzip.BadGzipFile, EOFError, isal_zlib.error) as error:  # type: ignore[misc]  # its stub is an instance
            raise self._damaged(str(error)) from error
        if self._stored:
            self._crc = isal_zlib.crc32(data, self._crc)
        self.n_read += len(data)
        return data

    def finish(self) -> None:
        """Compare length and check sum, once the whole entry was read."""
        self.read(1)  # the trailer of a gzip, which is compared then
        if self.n_read != self._entry.file_size:
            raise self._damaged(f"{self.n_read} bytes instead of {self._entry.file_size}")
        if self._stored and self._crc != self._entry.CRC:
            raise self._damaged(f"CRC {self._crc:08x} instead of {self._entry.CRC:08x}")

    def _damaged(self, reason: str) -> DamagedFile:
        return DamagedFile(f"{self._path} is damaged: {self._entry.filename}: {reason}.")


class _RawEntry(io.RawIOBase):
    """The stored bytes of a zip entry; where they are deflated, framed as a gzip file.

    Attributes:
        is_in_place: whether a local header with the entry's name lies before the bytes.
    """

    def __init__(self, file: io.BufferedReader | io.RawIOBase, entry: zipfile.ZipInfo) -> None:
        header = file.read(LOCAL_HEADER_BYTES) or b""
        name = file.read(int.from_bytes(header[26:28], "little"))
        file.read(int.from_bytes(header[28:30], "little"))
        encoding = "utf-8" if entry.flag_bits & UTF8_FLAG else "cp437"
        self.is_in_place = header.startswith(LOCAL_MAGIC) and name == entry.orig_filename.encode(encoding)
        self._file = file
        self._n_left = entry.compress_size
        trailer = GZIP_TRAILER.pack(entry.CRC, entry.file_size & 0xFFFFFFFF)
        self._frame = [] if entry.compress_type == zipfile.ZIP_STORED else [trailer, GZIP_HEADER]

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer) -> int:
        view = memoryview(target)
        if len(self._frame) == 2 or not self._n_left:
            frame = self._frame.pop() if self._frame else b""
            view[: len(frame)] = frame
            return len(frame)
        n_bytes = self._file.readinto(view[: self._n_left]) or 0
        self._n_left -= n_bytes
        return n_bytes


class ByteStream:
    """Exact numbers of bytes, or arrays, read from blocks of bytes."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._held = b""

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, or fewer where the stream ends; all that are left where it is -1."""
        size = sys.maxsize if size < 0 else size
        parts, n = [self._held], len(self._held)
        while n < size and (block := next(self._blocks, b"")):
            parts.append(block)
            n += len(block)
        joined = b"".join(parts)
        self._held = joined[size:]
        return joined[:size]

    def arrays(self, dtype: np.dtype, n_items: int) -> Iterator[NDArray]:
        """The next `n_items` items in blocks; fewer where the stream ends."""
        left = n_items
        while left:
            data = self.read(min(left, BLOCK_BYTES // dtype.itemsize) * dtype.itemsize)
            block = np.frombuffer(data, dtype, len(data) // dtype.itemsize)
            left -= len(block)
            if not len(block):
                return
            yield block

    def drain(self, at_most: int = sys.maxsize) -> int:
        """Read to the end, so that check sums are compared, and count the bytes.

        Args:
            at_most: stop once so many bytes were read.

        Returns:
            The number of bytes read.
        """
        n = len(self._held)
        self._held = b""
        while n < at_most and (block := next(self._blocks, b"")):
            n += len(block)
        return n
