"""Steps of post-processing that raise a score, learnt on some cases and scored on others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.labels import Labels
from nnunet_ext.objective import Objective
from nnunet_ext.overlap import Counts, label_counts, without_ignored
from nnunet_ext.postprocess.components import Group
from nnunet_ext.postprocess.step_list import resolve_steps
from nnunet_ext.postprocess.steps import Step
from nnunet_ext.postprocess.tables import CaseTable

MAX_STEPS = 4
SMALLEST_GAIN = 1e-4  # of the score on the cases learnt on; less is chance
ROUNDING = 1e-9
SHARES = (1.0, 0.5)  # of the smallest volume in the references, below which a prediction is no finding

Entry = Mapping[str, Mapping[str, Any]]
Entries = tuple[Entry, ...]
Tables = Sequence[CaseTable]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class ReferenceSizes:
    """Volumes in one reference, by group of labels; a group that is absent has none.

    Attributes:
        smallest_mm3: of its smallest component.
        total_mm3: of all of it.
    """

    smallest_mm3: Mapping[Group, float]
    total_mm3: Mapping[Group, float]


@dataclass(frozen=True)
class Learnt:
    """Steps and what they are worth.

    Attributes:
        entries: the steps learnt on all cases, as a plan writes them.
        by_fold: those learnt without the cases of each fold.
        fitted: counts of all cases after `entries`.
        held_out: counts of each case after the steps of its fold.
        accepted: whether, on held-out cases, no label's score falls and one rises.
    """

    entries: Entries
    by_fold: Mapping[str, Entries]
    fitted: Counts
    held_out: Counts
    accepted: bool


class StepTuner:
    """Learns steps for the segmentations of all cases.

    Args:
        tables_after: the cases' tables after some steps; called once for each list of steps.
        sizes: of the references, in the same order.
        labels: those of the data set.
        objective: what to raise.
        ignore: value of voxels in the references that do not count.
    """

    def __init__(
        self,
        tables_after: Callable[[tuple[Step, ...]], Tables],
        sizes: Sequence[ReferenceSizes],
        labels: Labels,
        objective: Objective,
        ignore: int | None = None,
    ) -> None:
        self._tables_after = tables_after
        self._sizes = sizes
        self._labels = labels
        self._objective = objective
        self._ignore = ignore
        self._tables: dict[str, Tables] = {}
        self._trial_counts: dict[str, Counts] = {}

    def learn(self, folds: Sequence[str]) -> Learnt:
        """Learn on all cases, and fold by fold on the cases of the others."""
        every = np.arange(len(folds))
        entries, fitted = self.fit(every)
        by_fold, held_out = {}, np.empty_like(fitted)
        for fold in dict.fromkeys(folds):
            own = np.flatnonzero(np.array(folds) == fold)
            by_fold[fold], counts = self.fit(np.setdiff1d(every, own))
            held_out[own] = counts[own]
        before = self._counts(self._after(()))
        return Learnt(entries, by_fold, fitted, held_out, bool(entries) and self._helps(before, held_out))

    def fit(self, rows: Rows) -> tuple[Entries, Counts]:
        """Add the step that raises the score of some cases most, as long as no label's score falls.

        Returns:
            The steps in order, and the counts of all cases after them.
        """
        entries: Entries = ()
        tables = self._after(entries)
        counts = self._counts(tables)
        while len(entries) < MAX_STEPS:
            found = self._best_trial(entries, tables, counts, rows)
            if found is None:
                break
            entries, counts = (*entries, found[0]), found[1]
            if len(entries) < MAX_STEPS:
                tables = self._after(entries)
        return entries, counts

    def steps(self, entries: Entries) -> tuple[Step, ...]:
        """The steps that some entries stand for."""
        return resolve_steps(entries, self._labels)

    def _best_trial(
        self, entries: Entries, tables: Tables, counts: Counts, rows: Rows
    ) -> tuple[Entry, Counts] | None:
        best, best_gain = None, SMALLEST_GAIN
        before = self._objective.score(counts[rows])
        for entry in self._trials(rows):
            after = self._tried(entries, entry, tables)
            gain = self._objective.score(after[rows]) - before
            if gain > best_gain + ROUNDING and self._spares_all(counts[rows], after[rows]):
                best, best_gain = (entry, after), gain
        return best

    def _tried(self, entries: Entries, entry: Entry, tables: Tables) -> Counts:
        """Counts of all cases after one more step; folds try much the same ones."""
        key = json.dumps([*entries, entry])
        if key not in self._trial_counts:
            (step,) = self.steps((entry,))
            self._trial_counts[key] = self._count([table.after(step) for table in tables])
        return self._trial_counts[key]

    def _trials(self, rows: Rows) -> Iterator[Entry]:
        """Every step to try, from simple to complex; sizes are those of the references of `rows`."""
        for names in trial_labels(self._labels):
            options: dict[str, Any] = {"labels": names} | ({"union": True} if len(names) > 1 else {})
            (group,) = resolve_steps([{"keep_largest": options}], self._labels)[0].groups
            yield {"keep_largest": options}
            yield {"fill_holes": options}
            for kind, volumes in (
                ("remove_small", [self._sizes[row].smallest_mm3.get(group) for row in rows]),
                ("volume_floor", [self._sizes[row].total_mm3.get(group) for row in rows]),
            ):
                known = [volume for volume in volumes if volume]
                for share in SHARES if known else ():
                    yield {kind: options | {"min_volume_mm3": _rounded_down(share * min(known))}}

    def _after(self, entries: Entries) -> Tables:
        key = json.dumps(entries)
        if key not in self._tables:
            self._tables[key] = self._tables_after(self.steps(entries))
        return self._tables[key]

    def _counts(self, tables: Tables) -> Counts:
        return self._count([table.joint for table in tables])

    def _count(self, joints: Sequence[NDArray[np.int64]]) -> Counts:
        return label_counts(without_ignored(np.stack(joints), self._ignore), self._labels)

    def _spares_all(self, before: Counts, after: Counts) -> bool:
        """Whether no label's score falls."""
        old, new = self._objective.by_label(before), self._objective.by_label(after)
        return not (new < old - ROUNDING).any()  # NaN, which no case counts for, is no fall

    def _helps(self, before: Counts, after: Counts) -> bool:
        old, new = self._objective.by_label(before), self._objective.by_label(after)
        return self._spares_all(before, after) and bool((new > old + ROUNDING).any())


def trial_labels(labels: Labels) -> list[list[str]]:
    """Names of the labels of each group that steps are tried for: each one, then all foreground together."""
    alone = [[labels.names[channel]] for channel in labels.foreground]
    return [*alone, [name for (name,) in alone]] if len(alone) > 1 else alone


def trial_groups(labels: Labels) -> list[Group]:
    """The groups of labels that steps are tried for, each once."""
    groups = [
        resolve_steps([{"keep_largest": {"labels": names, "union": len(names) > 1}}], labels)[0].groups[0]
        for names in trial_labels(labels)
    ]
    return list(dict.fromkeys(groups))


def _rounded_down(volume_mm3: float) -> float:
    """To three digits, so that what is as small as the smallest stays."""
    unit = 10.0 ** (math.floor(math.log10(volume_mm3)) - 2)
    return float(f"{math.floor(volume_mm3 / unit * (1 + 1e-12)) * unit:.6g}")
