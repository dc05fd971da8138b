"""Probabilities as a stream of blocks: label after label, and within a label piece after piece.

A case's probabilities are the largest thing an ensemble handles. Read in this order, which is that
of the bytes in nnU-Net's files, they need a few blocks of memory, however many labels there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.probabilities.placement import Placement

Block = NDArray[np.float32]
BLOCK_VOXELS = 1 << 18
RANGE_TOLERANCE = 1e-5
SUM_TOLERANCE = 1e-3
ROUNDING = 1 / 131070
LANES = 64


class Piece(NamedTuple):
    """The place of a block: its label's index, and its voxels among the label's, in C order."""

    label: int
    voxels: slice


@dataclass(frozen=True)
class Layout:
    """The cut of a case's probabilities into blocks.

    Attributes:
        n_labels: channels.
        shape: shape of one channel, `(Z, Y, X)`.
        block_voxels: voxels a block; the last of each label may be shorter.
    """

    n_labels: int
    shape: tuple[int, ...]
    block_voxels: int = BLOCK_VOXELS

    @property
    def n_voxels(self) -> int:
        """The number of voxels of one label."""
        return math.prod(self.shape)

    def pieces(self) -> Iterator[Piece]:
        """Yield the places of all blocks in the order in which they are read."""
        n_voxels = self.n_voxels
        for label in range(self.n_labels):
            for start in range(0, n_voxels, self.block_voxels):
                yield Piece(label, slice(start, min(start + self.block_voxels, n_voxels)))


class Probabilities(Protocol):
    """The probabilities of one case in one file, of whatever kind, read as a stream.

    Attributes:
        path: the file.
        shape: `(L, Z, Y, X)`.
        sha256: SHA-256 of the whole file, once all blocks were read; None before.
    """

    path: Path
    shape: tuple[int, ...]
    sha256: str | None

    @property
    def labels(self) -> Labels | None:
        """The labels that the channels stand for; None where the file does not hold them."""

    @property
    def placement(self) -> Placement | None:
        """The placement in the scan's file; None where the file of probabilities does not hold it."""

    def layout(self) -> Layout:
        """Return how the blocks are cut unless another layout is given."""
        ...

    def blocks(self, layout: Layout) -> Iterator[Block]:
        """Yield all blocks in the order of `layout.pieces()`; each is valid until the next is asked for."""
        ...


Number = TypeVar("Number", bound=np.generic)


def recut(parts: Iterable[NDArray[Number]], sizes: Iterable[int]) -> Iterator[NDArray[Number]]:
    """Cut a stream of one-dimensional arrays anew; an array that lies within one part is a view of it.

    Args:
        parts: a part may be overwritten once the next was asked for.
        sizes: one for each array to give; what is left over of the parts is dropped.

    Raises:
        ValueError: the parts are shorter than the sizes together.
    """
    source = iter(parts)
    left: NDArray[Any] | None = None
    for size in sizes:
        if left is not None and len(left) >= size:
            yield left[:size]
            left = left[size:]
            continue
        gathered = [left.copy()] if left is not None and len(left) else []
        missing = size - sum(map(len, gathered))
        while missing:
            left = next(source, None)
            if left is None:
                raise ValueError(f"the stream is shorter than its layout by {missing} numbers or more.")
            taken, left = left[:missing], left[missing:]
            missing -= len(taken)
            gathered.append(taken.copy() if missing else taken)
        yield gathered[0] if len(gathered) == 1 else np.concatenate(gathered)


def read_ahead(blocks: Iterator[Block], pool: Executor) -> Iterator[Block]:
    """Pass blocks on, each read by a thread of `pool` while the block before is used.

    The blocks must stay as they are while the next is read. Side by side, streams that release the
    interpreter's lock keep several processors busy.
    """
    coming = pool.submit(next, blocks, None)
    while (block := coming.result()) is not None:
        coming = pool.submit(next, blocks, None)
        yield block


def blocks_of(probabilities: NDArray[np.floating], layout: Layout) -> Iterator[Block]:
    """Yield the blocks of an array in memory, `(L, Z, Y, X)`."""
    flat = probabilities.reshape(layout.n_labels, layout.n_voxels)
    for label, voxels in layout.pieces():
        yield flat[label, voxels].astype(np.float32, copy=False)


def checked(blocks: Iterable[Block], layout: Layout, *, sums_to_one: bool, what: str) -> Iterator[Block]:
    """Pass blocks on while they hold probabilities; raise an error at the first that does not.

    Every value must be finite and lie in 0..1. Where labels exclude each other, every voxel's
    labels must sum to 1 within 0.001 and half a step of the compact store for each label. That is
    checked on the mean of groups of 64 voxels, which are a fixed distance apart, so that a fraction
    of one volume is kept for it and not a whole one.

    Args:
        blocks: blocks of one member, in the order of `layout.pieces()`.
        layout: the cut of the blocks.
        sums_to_one: whether the labels exclude each other (softmax); False for regions.
        what: names the member and file in messages.

    Raises:
        ProbabilitiesError: a value is not finite or outside 0..1, or a group of voxels does not
            sum to 1.
    """
    tolerance = SUM_TOLERANCE + layout.n_labels * ROUNDING
    sums: dict[int, NDArray[np.float32]] = {}
    for piece, block in zip(layout.pieces(), blocks, strict=True):
        _check_range(block, piece, layout, what)
        if sums_to_one:
            means = _lane_means(block)
            start = piece.voxels.start
            sums[start] = sums[start] + means if piece.label else means
            if piece.label == layout.n_labels - 1:
                _check_sums(sums.pop(start), tolerance, what)
        yield block


def _check_range(block: Block, piece: Piece, layout: Layout, what: str) -> None:
    lowest, highest = block.min(), block.max()
    if lowest >= -RANGE_TOLERANCE and highest <= 1 + RANGE_TOLERANCE:  # both are NaN if any value is
        return
    wrong = ~((block >= -RANGE_TOLERANCE) & (block <= 1 + RANGE_TOLERANCE))
    voxel = np.unravel_index(piece.voxels.start + int(wrong.argmax()), layout.shape)
    raise ProbabilitiesError(
        f"{what} holds {block[wrong][0]} at label {piece.label}, voxel {tuple(map(int, voxel))}; "
        "probabilities lie in 0..1. Predict that member again with --save_probabilities."
    )


def _lane_means(block: Block) -> NDArray[np.float32]:
    whole = len(block) // LANES * LANES
    lanes = block[:whole].reshape(LANES, -1)
    return np.concatenate([lanes.sum(axis=0) * np.float32(1 / LANES), block[whole:]])


def _check_sums(sums: NDArray[np.float32], tolerance: float, what: str) -> None:
    off = np.abs(sums - 1)
    worst = int(off.argmax())
    if off[worst] > tolerance:
        raise ProbabilitiesError(
            f"{what}: the labels of a voxel sum to {sums[worst]:.4f}, not to 1. If they are logits, predict "
            "again with --save_probabilities; if they are regions, the dataset.json must say so."
        )
