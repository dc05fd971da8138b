"""The entries of a zip file (npz, checkpoints), streamed with their check sums."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from isal import igzip_lib, isal_zlib

from nnunet_ext.errors import DamagedFile

LOCAL_HEADER_BYTES = 30
LOCAL_MAGIC = b"PK\x03\x04"
UTF8_FLAG = 0x800
READ_BYTES = 1 << 18
BLOCK_BYTES = 1 << 20


def zip_entries(path: Path) -> list[zipfile.ZipInfo]:
    """The entries of a zip in the order in which they lie in it.

    Raises:
        DamagedFile: it is empty, truncated or no zip, or is compressed as neither numpy nor torch does.
    """
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


def entry_blocks(file: BinaryIO, entry: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    """The bytes of one entry in blocks; size and check sum are checked at its end.

    Raises:
        DamagedFile: they are not those that the zip tells, or cannot be inflated.
    """
    crc = n_bytes = 0
    for block in _raw_blocks(file, entry, path):
        crc = isal_zlib.crc32(block, crc)
        n_bytes += len(block)
        yield block
    if (crc, n_bytes) != (entry.CRC, entry.file_size):
        raise DamagedFile(
            f"{path} is damaged: {entry.filename} has CRC {crc:08x} of {n_bytes} bytes instead of "
            f"{entry.CRC:08x} of {entry.file_size}."
        )


def _raw_blocks(file: BinaryIO, entry: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    file.seek(entry.header_offset)
    header = file.read(LOCAL_HEADER_BYTES)
    name = file.read(int.from_bytes(header[26:28], "little"))
    if not header.startswith(LOCAL_MAGIC) or name != entry.orig_filename.encode(_encoding(entry)):
        raise DamagedFile(f"{path} is damaged: {entry.filename} is not where its directory says.")
    file.seek(int.from_bytes(header[28:30], "little"), 1)
    left = entry.compress_size
    stored = entry.compress_type == zipfile.ZIP_STORED
    inflater = None if stored else igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE)
    while inflater is None or not inflater.eof:
        chunk = b""
        if inflater is None or inflater.needs_input:
            chunk = file.read(min(READ_BYTES, left))
            left -= len(chunk)
            if not chunk:
                return
        try:
            block = chunk if inflater is None else inflater.decompress(chunk, BLOCK_BYTES)
        except (igzip_lib.error, EOFError) as error:  # type: ignore[misc]  # its stub is an instance
            raise DamagedFile(f"{path} is damaged: {entry.filename}: {error}.") from error
        if block:
            yield block


def _encoding(entry: zipfile.ZipInfo) -> str:
    return "utf-8" if entry.flag_bits & UTF8_FLAG else "cp437"
