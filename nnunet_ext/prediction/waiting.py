"""Ways in which outputs of networks wait for the others of their case, and the memory that each takes."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nnunet_ext.ensemble.fusion import relative_weights
from nnunet_ext.prediction.outputs import NetworkOutput

SLAB_BYTES = 1 << 23  # of one volume of all labels in single precision; more than a cache holds is slower
PLANES_AT_LEAST = 4  # single planes take twice the time
PARTS_OF_MEMORY = 4  # waiting outputs of a case fill at most one of so many parts of the free memory
HALF_BYTES, SINGLE_BYTES = 2, 4
GIB = 1 << 30


def slabs(n_labels: int, shape: Sequence[int]) -> Iterator[slice]:
    """Cut a scan `(Z, Y, X)` into slabs of planes that fit in memory with all labels."""
    n_planes = max(PLANES_AT_LEAST, SLAB_BYTES // (SINGLE_BYTES * n_labels * math.prod(shape[1:])))
    for start in range(0, shape[0], n_planes):
        yield slice(start, min(start + n_planes, shape[0]))


@dataclass(frozen=True)
class Waiting:
    """How the outputs of a case wait.

    Attributes:
        as_sums: as one sum for each label, on the scan's grid; else as logits, on the networks' grids.
        n_bytes: how many.
        on_disk: whether they do not fit in memory and lie in a file.
    """

    as_sums: bool
    n_bytes: int
    on_disk: bool

    @classmethod
    def cheapest(
        cls, n_labels: int, shape: Sequence[int], outputs: Sequence[Sequence[int]], free_bytes: int
    ) -> Waiting:
        """Choose what takes less memory.

        Args:
            n_labels: channels of each output.
            shape: `(Z, Y, X)` of the scan.
            outputs: shape of each pass's output on its network's grid.
            free_bytes: memory that is free.
        """
        as_logits = HALF_BYTES * n_labels * sum(math.prod(one) for one in outputs)
        as_sums = SINGLE_BYTES * n_labels * math.prod(shape)
        on_disk = min(as_logits, as_sums) > free_bytes // PARTS_OF_MEMORY
        if as_logits <= as_sums or on_disk:
            return cls(as_sums=False, n_bytes=as_logits, on_disk=on_disk)
        return cls(as_sums=True, n_bytes=as_sums, on_disk=False)

    def describe(self) -> str:
        """In words, with the amount."""
        kind = "sums on the scan's grid" if self.as_sums else "logits on the networks' grids"
        gib = self.n_bytes / GIB
        size = f"{gib:.1f} GiB" if gib >= 1 else f"{gib * 1024:.1f} MiB"
        return f"{size} of {kind}, {'in a file' if self.on_disk else 'in memory'}"


class Fusion(Protocol):
    """Weighted means of the probabilities of several passes."""

    def add(self, row: int, output: NetworkOutput) -> None:
        """Add the output of the pass of one row of weights."""
        ...

    def planes(self, planes: slice) -> torch.Tensor:
        """Return `(L, planes, Y, X)` of the mean, once all passes were added."""
        ...


class MeanOfWaiting:
    """The mean of passes whose logits wait on the networks' grids.

    Passes are added in the order of the rows: the result is that of `nnunet_ext.ensemble.fusion.fuse` for
    the same probabilities.

    Args:
        weights: `(M, L)`, of each pass and label.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self._relative = relative_weights(weights)
        self._outputs: dict[int, NetworkOutput] = {}

    def add(self, row: int, output: NetworkOutput) -> None:
        """Add the output of the pass of one row of weights."""
        self._outputs[row] = output

    def planes(self, planes: slice) -> torch.Tensor:
        """Return `(L, planes, Y, X)` of the mean, once all passes were added."""
        first, *others = sorted(self._outputs)
        total = self._weighted(first, planes)
        for row in others:
            total += self._weighted(row, planes)
        return total.div_(_divisors(self._relative))

    def _weighted(self, row: int, planes: slice) -> torch.Tensor:
        return _times(self._outputs[row].probabilities(planes), self._relative[row])


class MeanOfSums:
    """The mean of passes that are added up on the scan's grid as they come.

    Args:
        weights: `(M, L)`, of each pass and label.
        shape: `(Z, Y, X)` of the scan.
    """

    def __init__(self, weights: NDArray[np.float64], shape: Sequence[int]) -> None:
        self._relative = relative_weights(weights)
        self._shape = tuple(shape)
        self._totals: torch.Tensor | None = None

    def add(self, row: int, output: NetworkOutput) -> None:
        """Add the output of the pass of one row of weights."""
        n_labels = self._relative.shape[1]
        is_first = self._totals is None
        totals = torch.empty((n_labels, *self._shape)) if self._totals is None else self._totals
        for planes in slabs(n_labels, self._shape):
            scores = _times(output.probabilities(planes), self._relative[row])
            if is_first:
                totals[:, planes] = scores
            else:
                totals[:, planes] += scores
        self._totals = totals

    def planes(self, planes: slice) -> torch.Tensor:
        """Return `(L, planes, Y, X)` of the mean, once all passes were added."""
        if self._totals is None:
            raise ValueError("no output was added")
        return self._totals[:, planes] / _divisors(self._relative)


def _times(scores: torch.Tensor, weights: NDArray[np.float32]) -> torch.Tensor:
    """Scores `(L, …)`, which may be changed, each label times its weight."""
    if (weights == 1).all():
        return scores
    return scores.mul_(_by_label(weights, scores.ndim))


def _divisors(relative: NDArray[np.float32]) -> torch.Tensor:
    """The sum of each label's weights, for volumes `(L, Z, Y, X)`."""
    return _by_label(np.array([column.sum() for column in relative.T], np.float32), 4)


def _by_label(values: NDArray[np.float32], n_axes: int) -> torch.Tensor:
    return torch.from_numpy(values).view(-1, *[1] * (n_axes - 1))


def kept_in_file(logits: NDArray[Any], folder: Path) -> NDArray[Any]:
    """Move an array into a file without a name, which is gone with the array.

    Args:
        logits: any array.
        folder: where the file lies.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        # A write to a mapped file on a full disk would end the process without a word: it is written first.
        file.write(np.ascontiguousarray(logits).data)
        file.flush()
        return np.memmap(file, logits.dtype, "c", shape=logits.shape)
