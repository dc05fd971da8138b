"""Voxels of each label, drawn at random as nnU-Net draws them for its batches."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from numpy.typing import NDArray

LabelOrRegion = int | list[int] | tuple[int, ...]
Places = NDArray[np.int64] | list[Any]
N_FEWEST, LEAST_SHARE, SEED = 10000, 0.01, 1234
# Other versions of nnU-Net draw in another way, which is then theirs.
IS_KNOWN_WAY = (
    "min_num_samples" in inspect.signature(DefaultPreprocessor._sample_foreground_locations).parameters
)


class FastPreprocessor(DefaultPreprocessor):  # type: ignore[misc]
    """nnU-Net's default preprocessor, which finds the voxels of labels without sorting all of them."""

    @staticmethod
    def _sample_foreground_locations(
        segmentation: NDArray[np.integer[Any]], labels: Sequence[LabelOrRegion], **options: Any
    ) -> dict[Any, Places]:
        if not IS_KNOWN_WAY or segmentation.dtype.kind not in "iu":
            places: dict[Any, Places] = DefaultPreprocessor._sample_foreground_locations(
                segmentation, labels, **options
            )
            return places
        return draw_places(segmentation, labels)


def draw_places(segmentation: NDArray[np.integer[Any]], labels: Sequence[LabelOrRegion]) -> dict[Any, Places]:
    """Draw 10,000 voxels of each label or region, or a hundredth of them where that is more.

    Args:
        segmentation: `(1, X, Y, Z)`.
        labels: a label, or the labels of a region.

    Returns:
        `(N, 4)` for each label, or tuple of a region's labels; an empty list where there is none.

    Source: `DefaultPreprocessor._sample_foreground_locations`, with the same random numbers.
    """
    random = np.random.RandomState(SEED)
    flat = segmentation.reshape(-1)
    found = _Voxels(flat)
    drawn: dict[Any, Places] = {}
    for label in labels:
        values = tuple(int(value) for value in (label if isinstance(label, (list, tuple)) else [label]))
        key = values if isinstance(label, (list, tuple)) else values[0]
        parts = [part for part in map(found.of, values) if len(part)]
        if not parts:
            drawn[key] = []
            continue
        total = sum(map(len, parts))
        n_wanted = max(min(N_FEWEST, total), math.ceil(total * LEAST_SHARE))
        chosen = _taken(parts, random.choice(total, n_wanted, replace=False))
        drawn[key] = np.stack(np.unravel_index(chosen, segmentation.shape), axis=1)
    return drawn


class _Voxels:
    """The voxels of each label in the order of memory, found once."""

    def __init__(self, flat: NDArray[np.integer[Any]]) -> None:
        self._flat = flat
        self._known: dict[int, NDArray[np.intp]] = {}

    def of(self, label: int) -> NDArray[np.intp]:
        if label not in self._known:
            self._known[label] = np.flatnonzero(self._flat == label)
        return self._known[label]


def _taken(parts: Sequence[NDArray[np.intp]], offsets: NDArray[np.intp]) -> NDArray[np.intp]:
    """Entries of several arrays as if they were one."""
    if len(parts) == 1:
        return parts[0][offsets]
    chosen = np.empty_like(offsets)
    for part, start in _with_starts(parts):
        inside = (offsets >= start) & (offsets < start + len(part))
        chosen[inside] = part[offsets[inside] - start]
    return chosen


def _with_starts(parts: Sequence[NDArray[np.intp]]) -> Iterator[tuple[NDArray[np.intp], int]]:
    start = 0
    for part in parts:
        yield part, start
        start += len(part)
