"""What an array holds, gathered block by block while a file is read."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_VALUES = 300


@dataclass(frozen=True)
class Content:
    """What an array holds.

    Attributes:
        shape: of the array; `(z, y, x)` where it is a volume.
        dtype: numpy's name of the type on disk, in this machine's byte order.
        minimum: of the finite values, after the file's own scaling; NaN where there are none.
        maximum: likewise.
        n_not_finite: values that are NaN or infinite.
        digest: SHA-256 of shape, type and bytes: equal arrays have equal ones, whatever their headers.
        counts: how often each finite value occurs; None where nobody asked, or where there are more
            than 300 of them.
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
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def is_constant(self) -> bool:
        """Whether all values are one."""
        return self.minimum == self.maximum and not self.n_not_finite


@dataclass(frozen=True)
class Scale:
    """The factor and offset with which a file's numbers become values."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, number: float) -> float:
        """The value of a number on disk; single precision where it is scaled, as ITK gives it."""
        if self.slope == 1.0 and self.offset == 0.0:
            return float(number)
        return float(np.float32(float(number) * self.slope + self.offset))


class ContentReader:
    """Gathers a `Content` from the blocks of an array, in the order of their bytes."""

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
        """Take one block of numbers as they are on disk, in any byte order, of any shape."""
        if not block.size:
            return
        block = np.ascontiguousarray(block, block.dtype.newbyteorder("=")).reshape(-1)
        self._digest.update(block.view(np.uint8).data)
        block = self._finite(block)
        if not block.size:
            return
        self._low, self._high = min(self._low, float(block.min())), max(self._high, float(block.max()))
        if self._counts is not None:
            self._count(block)

    def finish(self) -> Content:
        """What all the blocks held."""
        has_values = self._low <= self._high
        ends = sorted((self._scale(self._low), self._scale(self._high))) if has_values else [math.nan] * 2
        counts = self._counts
        return Content(
            self._shape,
            self._dtype.name,
            ends[0],
            ends[1],
            self._n_not_finite,
            self._digest.hexdigest(),
            None if counts is None else {self._scale(value): counts[value] for value in sorted(counts)},
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

    def _count(self, block: NDArray) -> None:
        """Count value after value; most of a segmentation is background, which goes first."""
        assert self._counts is not None
        rest = block
        for value in [0, *self._counts]:
            rest = self._taken(rest, value)
        while rest.size:
            if len(self._counts) >= MAX_VALUES:
                self._counts = None
                return
            rest = self._taken(rest, rest[0].item())

    def _taken(self, rest: NDArray, value: float) -> NDArray:
        assert self._counts is not None
        left = rest[rest != value]
        if len(left) < len(rest):
            self._counts[value] = self._counts.get(value, 0) + len(rest) - len(left)
        return left
