"""Range, not finite values, counts and digest of an array, gathered block by block while a file is read."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_VALUES = 300


@dataclass(frozen=True, kw_only=True)
class Content:
    """Summary of an array's values.

    Attributes:
        shape: shape of the array; `(z, y, x)` of a volume.
        dtype: numpy's name of the type on disk, without its byte order.
        minimum: lowest finite value, after the file's own scaling; NaN where there is none.
        maximum: highest finite value, likewise.
        n_not_finite: number of values that are NaN or infinite.
        digest: SHA-256 of shape, type and bytes; equal arrays have equal digests, whatever their headers.
        counts: number of voxels of each finite value; None where they were not asked for, or where there
            are more than 300 values.
    """

    shape: tuple[int, ...]
    dtype: str
    minimum: float
    maximum: float
    n_not_finite: int
    digest: str
    counts: dict[float, int] | None = None

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def is_constant(self) -> bool:
        """Whether all values are the same."""
        return self.minimum == self.maximum and not self.n_not_finite


@dataclass(frozen=True)
class Scale:
    """Factor and offset by which a file's numbers become values."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, number: float) -> float:
        """The value of a number on disk; rounded to single precision where it is scaled, as ITK does."""
        if self.slope == 1.0 and self.offset == 0.0:
            return float(number)
        return float(np.float32(float(number) * self.slope + self.offset))


class ContentReader:
    """Gathers the `Content` of an array from its blocks, which come in the order of their bytes."""

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        scale: Scale | None = None,
        *,
        with_counts: bool = False,
    ) -> None:
        self._shape, self._dtype, self._scale = shape, dtype, scale or Scale()
        self._digest = hashlib.sha256(f"{shape} {dtype.newbyteorder('=').str}".encode())
        self._counts: dict[float, int] | None = {} if with_counts else None
        self._low, self._high = math.inf, -math.inf
        self._n_not_finite = 0

    def add(self, block: NDArray[np.generic]) -> None:
        """Add one block of numbers as they are on disk, in any byte order, of any shape."""
        if not block.size:
            return
        block = np.ascontiguousarray(block, block.dtype.newbyteorder("=")).reshape(-1)
        self._digest.update(block.view(np.uint8).data)
        block = self._finite(block)
        if not block.size:
            return
        self._low, self._high = min(self._low, float(block.min())), max(self._high, float(block.max()))
        if self._counts is not None:
            self._count(block, self._counts)

    def finish(self) -> Content:
        """The content of all blocks."""
        has_values = self._low <= self._high
        ends = sorted((self._scale(self._low), self._scale(self._high))) if has_values else [math.nan] * 2
        counts = self._counts
        if counts is not None:
            counts = {self._scale(value): counts[value] for value in sorted(counts)}
        return Content(
            shape=self._shape,
            dtype=self._dtype.name,
            minimum=ends[0],
            maximum=ends[1],
            n_not_finite=self._n_not_finite,
            digest=self._digest.hexdigest(),
            counts=counts,
        )

    def _finite(self, block: NDArray) -> NDArray:
        if block.dtype.kind == "c":
            block = block.view(np.float32 if block.dtype.itemsize == 8 else np.float64)
        ends = (block.min(), block.max())  # a NaN is either
        if block.dtype.kind != "f" or np.isfinite(ends).all():
            return block
        finite = np.isfinite(block)
        self._n_not_finite += int(block.size - np.count_nonzero(finite))
        return block[finite]

    def _count(self, block: NDArray, counts: dict[float, int]) -> None:
        """Count one value after the other; 0 comes first, since most of a segmentation is background."""
        rest = block
        for value in [0, *counts]:
            rest = _count_value(rest, value, counts)
        while rest.size:
            if len(counts) >= MAX_VALUES:
                self._counts = None
                return
            rest = _count_value(rest, rest[0].item(), counts)


def _count_value(values: NDArray, value: float, counts: dict[float, int]) -> NDArray:
    """Add the occurrences of a value to `counts`, and return the other values."""
    others = values[values != value]
    if len(others) < len(values):
        counts[value] = counts.get(value, 0) + len(values) - len(others)
    return others
