"""Count the voxels of all cases under any weights, exactly, from the contested voxels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.fusion import REGION_THRESHOLD, decide, fuse, relative_weights, weighted_mean
from nnunet_ext.metrics.overlap import Counts, Joint, label_counts, without_ignored
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.probabilities.stream import Layout

KEPT_BYTES = 1 << 28
CHUNK_VOXELS = 1 << 15  # the values of one label in a chunk fit a core's cache
Weights = NDArray[np.float64]
Segmentation = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class ScoredCase:
    """Values and labels of one case's contested voxels, and counts of all its other voxels.

    Attributes:
        case_id: the case's name.
        members: index of the member of each file.
        shares: share of the member's weight that each file has.
        values: probabilities of the contested voxels, `(L, files, voxels)`.
        reference: labels of the contested voxels.
        settled: counts of pairs of all other voxels, `(n, n)`, prediction before reference.
        stands_for: number of voxels that each contested one counts for; 1 is exact.
    """

    case_id: str
    members: tuple[int, ...]
    shares: tuple[float, ...]
    values: NDArray[np.float32]
    reference: NDArray[np.integer[Any]]
    settled: Joint
    stands_for: int = 1

    def thinned(self, n_voxels: int) -> ScoredCase:
        """Return the case with at most so many contested voxels, evenly picked, for a faster search."""
        step = -(-self.values.shape[2] // n_voxels)
        if step <= 1:
            return self
        return replace(
            self,
            values=self.values[:, :, ::step],
            reference=self.reference[::step],
            stands_for=self.stands_for * step,
        )


@dataclass(frozen=True)
class _Kind:
    """The properties that cases have in common if they are scored together."""

    members: tuple[int, ...]
    shares: tuple[float, ...]
    stands_for: int


@dataclass(frozen=True)
class _Group:
    """Cases of one kind, with their contested voxels in one array; `places` holds the slice of each case."""

    kind: _Kind
    places: dict[int, slice]
    values: NDArray[np.float32]
    cells: NDArray[np.int64]  # index into the counts of each voxel's case and reference, for a predicted 0

    def weights(self, weights: Weights) -> Weights:
        """Return the weights of the files `(files, L)`, as an ensemble computes them."""
        normal = weights / weights.sum(axis=0)
        return np.array(
            [normal[m] * share for m, share in zip(self.kind.members, self.kind.shares, strict=True)]
        )

    @property
    def chunks(self) -> list[slice]:
        """The slices of the voxels that are counted at a time."""
        n_voxels = self.values.shape[2]
        return [slice(start, start + CHUNK_VOXELS) for start in range(0, n_voxels, CHUNK_VOXELS)]


@dataclass(frozen=True)
class _DecisionWithout:
    """The decision on voxels without one label; the label wins where above `lower` and not below `upper`."""

    winners: NDArray[np.int64]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]


class Scorer:
    """Counts voxels of all cases for any weights, and keeps the counts.

    Args:
        cases: in the order of the counts' rows.
        labels: labels of the data set.
        ignore: value of voxels in the references that do not count.
    """

    def __init__(self, cases: Sequence[ScoredCase], labels: Labels, ignore: int | None = None) -> None:
        self.labels = labels
        self.n_cases = len(cases)
        self._ignore = ignore
        self.n_values = max(len(case.settled) for case in cases)
        self._settled = np.stack([_pad(case.settled, self.n_values) for case in cases])
        self._groups = self._group_cases(cases)
        self._known: dict[bytes, Counts] = {}

    def counts(self, weights: Weights) -> Counts:
        """Count voxels `(cases, foreground labels, 3)` of the segmentations that weights `(M, L)` give."""
        key = weights.tobytes()
        found = self._known.get(key)
        if found is None:
            cells = self._settled.ravel().copy()
            for group in self._groups:
                for chunk in group.chunks:
                    winners = self._decide(group, group.values[:, :, chunk], weights).astype(np.int64)
                    cells += self._histogram(group, group.cells[chunk] + winners * self.n_values)
            found = self._counts_of(cells)
            self._keep({key: found})
        return found

    def counts_of_columns(self, weights: Weights, label: int, columns: Sequence[Weights]) -> list[Counts]:
        """Count voxels for weights in which one label's column is replaced by each of `columns` in turn."""
        replaced = [weights.copy() for _ in columns]
        for one, column in zip(replaced, columns, strict=True):
            one[:, label] = column
        known = {key: self._known[key] for one in replaced if (key := one.tobytes()) in self._known}
        missing = {key: one for one in replaced if (key := one.tobytes()) not in known}
        if missing:
            known |= self._count_columns(weights, label, missing)
        return [known[one.tobytes()] for one in replaced]

    def decided(self, case: int, weights: Weights) -> Segmentation:
        """Decide the labels of one case's contested voxels."""
        for group in self._groups:
            if case in group.places:
                return self._decide(group, group.values[:, :, group.places[case]], weights)
        raise IndexError(case)

    def _count_columns(
        self, weights: Weights, label: int, missing: dict[bytes, Weights]
    ) -> dict[bytes, Counts]:
        """Decide the other labels once for all columns; a voxel then changes only where `label` wins it."""
        tables = {key: self._settled.ravel().copy() for key in missing}
        value = self.labels.values[label]
        for group in self._groups:
            for chunk in group.chunks:
                values, cells = group.values[:, :, chunk], group.cells[chunk]
                rest = self._decide_without(group, values, weights, label)
                before = cells + rest.winners * self.n_values
                base = self._histogram(group, before)
                for key, one in missing.items():
                    relative = relative_weights(group.weights(one))[:, label]
                    score = weighted_mean(list(values[label]), relative)
                    wins = np.flatnonzero((score > rest.lower) & (score >= rest.upper))
                    after = cells[wins] + value * self.n_values
                    changed = self._histogram(group, after) - self._histogram(group, before[wins])
                    tables[key] += base + changed
        found = {key: self._counts_of(cells) for key, cells in tables.items()}
        self._keep(found)
        return found

    def _keep(self, found: dict[bytes, Counts]) -> None:
        if sum(counts.nbytes for counts in found.values()) * len(self._known) > KEPT_BYTES * len(found):
            self._known.clear()
        self._known |= found

    def _decide_without(
        self, group: _Group, values: NDArray[np.float32], weights: Weights, label: int
    ) -> _DecisionWithout:
        relative = relative_weights(group.weights(weights))
        n_voxels = values.shape[2]
        winners = np.zeros(n_voxels, np.int64)
        lower, upper = np.full((2, n_voxels), -np.inf, np.float32)
        best = lower.copy()
        for other in range(len(self.labels)):
            if other == label:
                continue
            score = weighted_mean(list(values[other]), relative[:, other])
            if self.labels.is_regions:
                wins = score > REGION_THRESHOLD
                if other > label:
                    upper[wins] = np.inf
            else:
                wins = score > best
                np.maximum(best, score, out=best)
                rival = lower if other < label else upper
                np.maximum(rival, score, out=rival)
            winners[wins] = self.labels.values[other]
        if self.labels.is_regions:
            lower[:] = REGION_THRESHOLD
        return _DecisionWithout(winners, lower, upper)

    def _decide(self, group: _Group, values: NDArray[np.float32], weights: Weights) -> Segmentation:
        """Decide voxels with the fusion and decision of an ensemble."""
        if values.shape[2] == 0:
            return np.zeros(0, np.uint8)
        layout = Layout(values.shape[0], values.shape[2:], values.shape[2])
        streams = [iter(values[:, source]) for source in range(values.shape[1])]
        return decide(fuse(streams, group.weights(weights), layout), self.labels, layout)

    def _histogram(self, group: _Group, cells: NDArray[np.int64]) -> Joint:
        return np.bincount(cells, minlength=self._settled.size) * group.kind.stands_for

    def _counts_of(self, cells: Joint) -> Counts:
        joint = cells.reshape(self._settled.shape)
        return label_counts(without_ignored(joint, self._ignore), self.labels)

    def _group_cases(self, cases: Sequence[ScoredCase]) -> list[_Group]:
        kinds: dict[_Kind, list[int]] = {}
        for row, case in enumerate(cases):
            kinds.setdefault(_Kind(case.members, case.shares, case.stands_for), []).append(row)
        return [self._group(kind, rows, cases) for kind, rows in kinds.items()]

    def _group(self, kind: _Kind, rows: Sequence[int], cases: Sequence[ScoredCase]) -> _Group:
        ends = np.cumsum([len(cases[row].reference) for row in rows]).tolist()
        places = {row: slice(start, end) for row, start, end in zip(rows, [0, *ends], ends, strict=False)}
        values = np.concatenate([cases[row].values for row in rows], axis=2)
        cells = [row * self.n_values**2 + cases[row].reference.astype(np.int64) for row in rows]
        return _Group(kind, places, values, np.concatenate(cells))


def _pad(joint: Joint, n_values: int) -> Joint:
    return np.pad(joint, (0, n_values - len(joint)))
