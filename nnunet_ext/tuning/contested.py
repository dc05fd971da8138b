"""Find the contested voxels of a case, whose label depends on the weights, in one pass over its files.

All other voxels are settled: they get the same label whatever the weights. A voxel is settled for a label
where the least that any member gives this label is more than the most that any member gives another, since
each fused score is a mean of the members' values. A voxel of regions is settled where, for each region, all
members lie on one side of the threshold. Both hold with a margin for the rounding of single precision, in
which fusion computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.fusion import REGION_THRESHOLD
from nnunet_ext.images.image import segmentation_type
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.probabilities.stream import Block, Layout

HALF = np.float32(0.5)
SURE = np.float32(0.501)  # if all members give a label more, less than a half is left for each other label
NEVER = np.float32(2.0)
Streams = Sequence[Iterator[Block]]
Places = NDArray[np.int64]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Contested:
    """The settled and the contested voxels of one case.

    Attributes:
        settled: the segmentation, flat; 0 at the contested voxels.
        voxels: indices of the contested voxels, rising.
        values: `(L, files, contested voxels)`, as fusion reads them. Where a region is settled at a voxel
            that another region contests, the values of all files are 0 or 1 for it.
    """

    settled: NDArray[np.integer[Any]]
    voxels: Places
    values: Values


class SumsAboveOne(ValueError):
    """Raised where two labels of one voxel have more than a half each."""


def find_contested(open_streams: Callable[[], Streams], labels: Labels, layout: Layout) -> Contested:
    """Split the voxels of one case into settled and contested ones, with few values in memory.

    Args:
        open_streams: opens the files' blocks from the beginning, cut by `layout`. It is called a second
            time only where values that should sum to 1 do not.
        labels: the labels that the channels stand for.
        layout: the cut of the streams into blocks.
    """
    if labels.is_regions:
        return _of_regions(open_streams(), labels, layout)
    try:
        return _of_labels(open_streams(), labels, layout, SURE)
    except SumsAboveOne:
        return _of_labels(open_streams(), labels, layout, NEVER)


def rounding_margin(n_sources: int) -> float:
    """Return by how much two means in single precision may lie closer to each other than exact means.

    Each is off by one rounding at most for every product, sum and weight and for the quotient, which
    are fewer than 2 (sources + 1), each of 2 ** -24 relative to a value of 1 at most.
    """
    return 4 * (n_sources + 2) * 2.0**-24


@dataclass
class _Unsettled:
    """The voxels of one block that are not settled yet, and their values of the labels so far."""

    places: Places
    values: list[Values] = field(default_factory=list)

    def drop(self, sure: NDArray[np.bool_]) -> Places:
        """Drop the values of voxels that are settled now; return where these voxels lie in the block."""
        dropped = self.places[sure]
        if len(dropped):
            self.places = self.places[~sure]
            self.values = [values[:, ~sure] for values in self.values]
        return dropped


def _of_labels(streams: Streams, labels: Labels, layout: Layout, sure_above: np.float32) -> Contested:
    settled = _empty_segmentation(labels, layout)
    blocks: dict[int, _Unsettled] = {}
    for piece, *of_members in zip(layout.pieces(), *streams, strict=True):
        start, here = piece.voxels.start, settled[piece.voxels]
        if piece.label == 0:
            lowest = of_members[0].copy()
            for block in of_members[1:]:
                np.minimum(lowest, block, out=lowest)
            places = np.flatnonzero(~(lowest > sure_above))  # label 0 needs no entry: `settled` begins as 0
            blocks[start] = _Unsettled(places, [_values_at(of_members, places)])
            continue
        unsure = blocks[start]
        values = _values_at(of_members, unsure.places)
        n_above = sum(int(np.count_nonzero(block > HALF)) for block in of_members)
        if sure_above < 1 and n_above != np.count_nonzero(values > HALF):
            raise SumsAboveOne
        others_low = [(earlier <= HALF).all(axis=0) for earlier in unsure.values]
        sure = np.logical_and.reduce([(values > sure_above).all(axis=0), *others_low])
        unsure.values.append(values)
        here[unsure.drop(sure)] = labels.values[piece.label]
    margin = rounding_margin(len(streams))
    for start, unsure in blocks.items():
        stack = np.stack(unsure.values)
        winner, is_settled = _settled_labels(stack, margin)
        settled[start + unsure.places[is_settled]] = np.array(labels.values)[winner[is_settled]]
        unsure.drop(is_settled)
    return _join_blocks(settled, blocks, (layout.n_labels, len(streams)))


def _settled_labels(values: Values, margin: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the label whose lowest value is highest, and whether it lies above all other labels' values."""
    lowest, highest = values.min(axis=1), values.max(axis=1)
    winner = lowest.argmax(axis=0)
    columns = np.arange(len(winner))
    of_winner = lowest[winner, columns].astype(np.float64)
    highest[winner, columns] = -np.inf
    return winner, of_winner - highest.max(axis=0) > margin


def _of_regions(streams: Streams, labels: Labels, layout: Layout) -> Contested:
    n_sources, margin = len(streams), rounding_margin(len(streams))
    settled = _empty_segmentation(labels, layout)
    inside = np.zeros((layout.n_labels, layout.n_voxels), bool)
    open_: list[tuple[list[Places], list[Values]]] = [([], []) for _ in range(layout.n_labels)]
    for piece, *of_members in zip(layout.pieces(), *streams, strict=True):
        lowest, highest = of_members[0].copy(), of_members[0].copy()
        for block in of_members[1:]:
            np.minimum(lowest, block, out=lowest)
            np.maximum(highest, block, out=highest)
        above = lowest > float(REGION_THRESHOLD) + margin
        inside[piece.label, piece.voxels] = above
        places = np.flatnonzero(~above & ~(highest < float(REGION_THRESHOLD) - margin))
        unsure = open_[piece.label]
        unsure[0].append(places + piece.voxels.start)
        unsure[1].append(_values_at(of_members, places))
    for value, mask in zip(labels.values, inside, strict=True):
        settled[mask] = value
    voxels = np.unique(np.concatenate([place for places, _ in open_ for place in places]))
    settled[voxels] = 0
    values = np.repeat(inside[:, None, voxels].astype(np.float32), n_sources, axis=1)
    for label, (of_blocks, kept) in enumerate(open_):
        values[label][:, np.searchsorted(voxels, np.concatenate(of_blocks))] = np.concatenate(kept, axis=1)
    return Contested(settled, voxels, values)


def _empty_segmentation(labels: Labels, layout: Layout) -> NDArray[np.integer[Any]]:
    return np.zeros(layout.n_voxels, segmentation_type(labels.values))


def _values_at(blocks: Sequence[Block], places: Places) -> Values:
    """Return the files' values at some places of a block, `(files, places)`."""
    return np.stack([block[places] for block in blocks])


def _join_blocks(
    settled: NDArray[np.integer[Any]], blocks: dict[int, _Unsettled], channels: tuple[int, int]
) -> Contested:
    """Join the remaining voxels of all blocks."""
    voxels = [start + one.places for start, one in blocks.items()]
    values = [np.stack(one.values) if one.values else np.empty((*channels, 0)) for one in blocks.values()]
    return Contested(settled, np.concatenate(voxels), np.concatenate(values, axis=2).astype(np.float32))
