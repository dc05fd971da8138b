"""The bytes of a file as blocks, inflated where it is gzipped, with its check sums checked."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from nnunet_ext.errors import DamagedFile

GZIP_MAGIC = b"\x1f\x8b"
BLOCK_BYTES = 1 << 20


def plain_blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, inflated where it begins as gzip does, whatever its name.

    Raises:
        DamagedFile: it is empty, or the gzip is truncated, fails its check sum, or is followed by
            bytes that are none.
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


class Bytes:
    """Reads exact numbers of bytes, or arrays, from a stream of blocks."""

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
        """Read to the end, so that check sums are checked; how many bytes there were.

        Args:
            at_most: stop once there were so many.
        """
        n = len(self._held)
        self._held = b""
        while n < at_most and (block := next(self._blocks, b"")):
            n += len(block)
        return n
