"""The compact store: `CASE.b2nd`, the probabilities of one case as 16-bit fixed point, compressed by Blosc2.

Any program with Blosc2 reads it: an array `(L, Z, Y, X)` of uint16, 65535 being 1. Each label is cut into
slabs of planes that are compressed alone, by zstd after their bytes were shuffled, so that a label or a box
is read without the rest. Behind the array lie, as JSON, what is known of it and the CRC-32 of each slab,
which is checked whenever the slab is read; then the length and CRC-32 of this text, a mark, and the CRC-32
of all bytes before it, which is checked when all was read.

Labels that exclude each other sum to 1, so that the last tells nothing that the others do not. In its
place lies the sum of all, nearly the same everywhere, plus 128, which keeps it in one byte, modulo 65536:
nothing is lost, and files are a sixth to a third smaller. Regions are stored as they are.

How far numbers are off, and which voxels can change their label, is told in `fixed_point`.

Byte shuffle rather than bit shuffle: on trained networks' outputs the files were 10 to 35 % smaller and
read up to twice as fast, on noise the same. One thread: Blosc2's meet after each slab, and took several times
as long where other programs kept a processor busy.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from nnunet_ext.documents import parse_json
from nnunet_ext.errors import CannotReadNow, DamagedFile, ProbabilitiesError
from nnunet_ext.files import check_name, check_regular

FORMAT_VERSION = 2
MARK, FIRST_MARK = b"nnunet_ext\x00\x02", b"nnunet_ext\x00\x01"
END = struct.Struct(f"<QI{len(MARK)}sI")  # bytes and CRC-32 of the JSON, mark, CRC-32 of all before
CRC_BYTES = 4
SUM_SHIFT = np.uint16(128)


def pack_end(content: dict[str, Any]) -> bytes:
    """What lies behind the array, but for the CRC-32 of all bytes."""
    text = json.dumps({"version": FORMAT_VERSION} | content).encode()
    return text + END.pack(len(text), isal_zlib.crc32(text), MARK, 0)[:-CRC_BYTES]


def read_end(path: Path) -> tuple[dict[str, Any], int]:
    """What lies behind the array, and the CRC-32 of all bytes.

    Raises:
        ProbabilitiesError: the file is missing, no file, truncated, damaged or of another format or
            version, or its name is not UTF-8.
    """
    try:
        check_name(path)  # Blosc2 opens no other
        check_regular(path)
        with path.open("rb") as file:
            n_bytes = file.seek(0, 2)
            file.seek(max(0, n_bytes - END.size))
            n_text, crc, mark, crc_of_all = END.unpack(file.read().rjust(END.size))
            is_within = mark == MARK and n_text <= n_bytes - END.size
            file.seek(n_bytes - END.size - n_text if is_within else 0)
            text = file.read(n_text) if is_within else b""
    except FileNotFoundError:
        raise ProbabilitiesError(f"{path} does not exist.") from None
    except (CannotReadNow, DamagedFile) as error:
        raise ProbabilitiesError(str(error)) from error
    if mark != MARK:
        early = mark == FIRST_MARK
        what = "is of the store's first version" if early else "is truncated or none of this package's store"
        raise ProbabilitiesError(f"{path} ({n_bytes} bytes) {what}. Convert or predict that case again.")
    if not is_within:
        raise damaged(path, f"its metadata would have {n_text} bytes, and the file has {n_bytes}")
    if isal_zlib.crc32(text) != crc:
        raise damaged(path, "the CRC of its metadata differs")
    try:
        content = parse_json(text.decode("utf-8"))
    except ValueError as error:
        raise damaged(path, f"its metadata: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        raise damaged(path, "its metadata tell no version")
    if content["version"] > FORMAT_VERSION:
        raise ProbabilitiesError(
            f"{path} is of version {content['version']} of the store; this nnunet_ext reads versions up to "
            f"{FORMAT_VERSION}. Install a newer one."
        )
    return content, crc_of_all


def damaged(path: Path, reason: str) -> ProbabilitiesError:
    """The error that names a damaged file."""
    return ProbabilitiesError(f"{path} is damaged: {reason}. Convert or predict that case again.")
