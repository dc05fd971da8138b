"""The compact store: `CASE.b2nd`, one case's probabilities as 16-bit fixed point, compressed by Blosc2.

Any program with Blosc2 reads it: an array `(L, Z, Y, X)` of uint16, 65535 being 1. Each label is cut into
slabs of planes that are compressed alone, by zstd after their bytes were shuffled, so that a label or a box
is read without the rest. Behind the array lie, as JSON, what is known of it and the CRC-32 of each slab,
which is checked whenever the slab is read; then the length and CRC-32 of this text, a mark, and the CRC-32
of all bytes before it, which is checked when all was read.

Labels that exclude each other sum to 1, so that the last one follows from the others. In its place lies the
sum of all, nearly the same everywhere, plus 128, which keeps it in one byte, modulo 65536: nothing is lost,
and files are a sixth to a third smaller. Regions are stored as they are.

Byte shuffle rather than bit shuffle: on trained networks' outputs the files were 10 to 35 % smaller and
read up to twice as fast, on noise the same. One thread rather than several: Blosc2's threads wait for each
other after each slab, and took several times as long where other programs kept a processor busy.

A number is off by at most half a step, 1/131070, and single precision's own rounding. So is a weighted
mean of members, whatever their number. Two labels' scores can therefore change their order only where
they lie within one step, 1/65535, of each other, and a region's voxel only where its score lies within
half a step of 0.5; everywhere else a segmentation fused from stored probabilities is the same.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from nnunet_ext.errors import CannotReadNow, DamagedFile, ProbabilitiesError
from nnunet_ext.files.documents import parse_json
from nnunet_ext.files.names import check_name, check_regular
from nnunet_ext.probabilities.stream import RANGE_TOLERANCE, Block

FORMAT_VERSION = 2
MARK, FIRST_MARK = b"nnunet_ext\x00\x02", b"nnunet_ext\x00\x01"
END = struct.Struct(f"<QI{len(MARK)}sI")  # length and CRC-32 of the JSON, mark, CRC-32 of all bytes before
CRC_BYTES = 4
SUM_SHIFT = np.uint16(128)


def pack_end(content: dict[str, Any]) -> bytes:
    """Pack the metadata that lie behind the array, without the CRC-32 of all bytes."""
    text = json.dumps({"version": FORMAT_VERSION} | content).encode()
    return text + END.pack(len(text), isal_zlib.crc32(text), MARK, 0)[:-CRC_BYTES]


def read_end(path: Path) -> tuple[dict[str, Any], int]:
    """Read the metadata behind the array, and the CRC-32 of all bytes.

    Raises:
        ProbabilitiesError: the file is missing, no file, truncated, damaged or of another format or
            version, or its name is not UTF-8.
    """
    try:
        check_name(path)  # Blosc2 cannot open other names
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
    """Make the error that names a damaged file."""
    return ProbabilitiesError(f"{path} is damaged: {reason}. Convert or predict that case again.")


SLAB_VOXELS = 1 << 20
BLOCK_VOXELS = 1 << 18


@dataclass(frozen=True)
class Slabs:
    """The slabs that each label is cut into; a slab's voxels follow each other in the label's, in C order.

    Attributes:
        shape: shape of one label, `(Z, Y, X)` or `(Y, X)`.
        size: size of one slab: 1 along the first axes, then some planes, then all of the other axes.
            The last of an axis may be cut off.
        block: size of the blocks of a slab that are compressed alone.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    block: tuple[int, ...]

    def __post_init__(self) -> None:
        for inner, outer in ((self.size, self.shape), (self.block, self.size)):
            after = _cut_axis(inner) + 1
            if len(inner) != len(outer) or inner[after:] != outer[after:]:
                raise ValueError(f"slabs of {self.size} in blocks of {self.block} do not cut {self.shape}")

    @classmethod
    def of_shape(cls, shape: tuple[int, ...]) -> Slabs:
        """Cut a shape into slabs of about a million voxels, in blocks that fit a core's cache."""
        plane = math.prod(shape[1:])
        if plane > SLAB_VOXELS and len(shape) > 1:
            inner = cls.of_shape(shape[1:])
            return cls(shape, (1, *inner.size), (1, *inner.block))
        block = min(shape[0], max(1, BLOCK_VOXELS // plane))
        planes = min(shape[0], block * max(1, SLAB_VOXELS // (block * plane)))
        return cls(shape, (planes, *shape[1:]), (block, *shape[1:]))

    def voxels(self) -> Iterator[slice]:
        """Yield each slab's voxels among the label's, in order."""
        axis = _cut_axis(self.size)
        plane = math.prod(self.shape[axis + 1 :])
        starts = [range(0, n, step) for n, step in zip(self.shape, self.size[: axis + 1], strict=False)]
        for place in itertools.product(*starts):
            first = 0
            for index, length in zip(place, self.shape, strict=False):
                first = first * length + index
            planes = min(self.size[axis], self.shape[axis] - place[axis])
            yield slice(first * plane, (first + planes) * plane)

    @property
    def n_slabs(self) -> int:
        """The number of slabs of a label."""
        return math.prod(math.ceil(n / step) for n, step in zip(self.shape, self.size, strict=True))

    @property
    def n_stored(self) -> int:
        """The number of voxels stored for one slab, with those that fill its last block."""
        return math.prod(math.ceil(n / step) * step for n, step in zip(self.size, self.block, strict=True))


def _cut_axis(size: tuple[int, ...]) -> int:
    return next((axis for axis, n in enumerate(size) if n != 1), len(size) - 1)


ONE = 65535
STEP = 1 / ONE
ERROR_BOUND = STEP / 2 + 2.0**-23
PASS_VOXELS = 1 << 16  # fits the cache of a core with its copies
ONE_AS_BITS = int(np.float32(ONE).view(np.uint32))
Fixed = NDArray[np.uint16]


def quantise(block: Block, out: Fixed) -> None:
    """Round probabilities to the nearest step.

    Args:
        block: probabilities in one dimension; values up to 1e-5 outside 0..1 are taken for 0 or 1.
        out: array of the same length to write to.

    Raises:
        ProbabilitiesError: a value is not finite or lies outside 0..1.
    """
    scaled = np.empty(min(len(block), PASS_VOXELS), np.float32)
    for start in range(0, len(block), PASS_VOXELS):
        part = block[start : start + PASS_VOXELS]
        steps = scaled[: len(part)]
        np.multiply(part, np.float32(ONE), out=steps)
        np.rint(steps, out=steps)
        if steps.view(np.uint32).max() > ONE_AS_BITS:  # the bits of negative numbers and NaN are larger, too
            _clip(part, steps)
        np.copyto(out[start : start + PASS_VOXELS], steps, casting="unsafe")


def dequantise(fixed: Fixed, out: Block) -> Block:
    """Write the probabilities of fixed-point numbers to `out`, and return it."""
    return np.multiply(fixed, np.float32(STEP), out=out)


def _clip(part: Block, steps: Block) -> None:
    wrong = ~((part >= -RANGE_TOLERANCE) & (part <= 1 + RANGE_TOLERANCE))
    if wrong.any():
        raise ProbabilitiesError(f"a value is {part[wrong][0]}; probabilities lie in 0..1.")
    np.clip(steps, 0, ONE, out=steps)
