"""Learn steps of post-processing that raise a score on some cases, and score them on others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.metrics.objective import Objective
from nnunet_ext.metrics.overlap import Counts, label_counts, without_ignored
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.postprocess.components import Group
from nnunet_ext.postprocess.steps import Step, resolve_steps
from nnunet_ext.tuning.postprocess_tables import CaseTable

MAX_STEPS = 4
SMALLEST_GAIN = 1e-4  # of the score on the cases learnt on; less is chance
ROUNDING = 1e-9
SHARES = (1.0, 0.5)  # of the smallest volume in the references: thresholds to try
Entry = Mapping[str, Mapping[str, Any]]
Entries = tuple[Entry, ...]
Tables = Sequence[CaseTable]
Rows = NDArray[np.intp]
Place = tuple[int, str]


@dataclass(frozen=True)
class ReferenceSizes:
    """Volumes in one reference, by group of labels; a group that is absent has no entry.

    Attributes:
        smallest_mm3: volume of the group's smallest component.
        total_mm3: volume of the whole group.
    """

    smallest_mm3: Mapping[Group, float]
    total_mm3: Mapping[Group, float]


@dataclass(frozen=True)
class Learnt:
    """Steps of post-processing that were learnt, and their effect on held-out cases.

    Attributes:
        entries: the steps learnt on all cases, as a plan writes them.
        by_fold: the steps learnt without the cases of each fold.
        held_out: counts of each case after the steps of its fold.
        accepted: whether, on held-out cases, no label's score falls and one rises.
    """

    entries: Entries
    by_fold: Mapping[str, Entries]
    held_out: Counts
    accepted: bool


@dataclass
class _Fit:
    """The state of learning steps for one candidate on the cases of `rows`."""

    candidate: int
    rows: Rows
    entries: Entries = ()
    counts: Counts | None = None
    is_done: bool = False

    @property
    def place(self) -> Place:
        """The key of the tables that the next step is chosen from: the candidate and its steps so far."""
        return self.candidate, json.dumps(self.entries)


class StepTuner:
    """Learns steps for several candidates, which segment the same cases.

    Args:
        tables_after: returns, for each pair of a candidate's index and steps, the tables of all cases after
            these steps. All tables that are needed next are asked for in one call, and each only once.
        sizes: volumes in the references, in the order of the cases.
        labels: labels of the data set.
        objective: the score to raise.
        ignore: value of voxels in the references that do not count.
    """

    def __init__(
        self,
        tables_after: Callable[[Sequence[tuple[int, tuple[Step, ...]]]], Sequence[Tables]],
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
        self._tables: dict[Place, Tables] = {}
        self._trial_counts: dict[tuple[Place, str], Counts] = {}

    def learn(self, folds: Sequence[str], n_candidates: int = 1) -> list[Learnt]:
        """Learn on all cases, and for each fold on the cases of the others; one result per candidate."""
        every = np.arange(len(folds))
        own = {fold: np.flatnonzero(np.array(folds) == fold) for fold in dict.fromkeys(folds)}
        whole = [_Fit(candidate, every) for candidate in range(n_candidates)]
        by_fold = [
            {fold: _Fit(candidate, np.setdiff1d(every, rows)) for fold, rows in own.items()}
            for candidate in range(n_candidates)
        ]
        self._run([*whole, *(fit for of_candidate in by_fold for fit in of_candidate.values())])
        return [self._learnt(fit, of_folds, own) for fit, of_folds in zip(whole, by_fold, strict=True)]

    def steps(self, entries: Entries) -> tuple[Step, ...]:
        """Return the steps that entries of a plan describe."""
        return resolve_steps(entries, self._labels)

    def _learnt(self, whole: _Fit, by_fold: Mapping[str, _Fit], own: Mapping[str, Rows]) -> Learnt:
        before = self._counts(self._tables[_Fit(whole.candidate, whole.rows).place])
        held_out = before.copy()
        for fold, fit in by_fold.items():
            if fit.counts is not None:
                held_out[own[fold]] = fit.counts[own[fold]]
        return Learnt(
            whole.entries,
            {fold: fit.entries for fold, fit in by_fold.items()},
            held_out,
            bool(whole.entries) and self._raises_a_label(before, held_out),
        )

    def _run(self, fits: Sequence[_Fit]) -> None:
        """Run all fits side by side, a step at a time."""
        while going := [fit for fit in fits if not fit.is_done]:
            wanted = {fit.place: fit for fit in going if fit.place not in self._tables}
            asked = [(fit.candidate, self.steps(fit.entries)) for fit in wanted.values()]
            if asked:
                self._tables |= dict(zip(wanted, self._tables_after(asked), strict=True))
            for fit in going:
                self._advance(fit)

    def _advance(self, fit: _Fit) -> None:
        """Add the step that raises the score of the fit's cases most, as long as no label's score falls."""
        tables = self._tables[fit.place]
        counts = self._counts(tables) if fit.counts is None else fit.counts
        found = self._best_trial(fit, tables, counts)
        if found is not None:
            fit.entries, counts = (*fit.entries, found[0]), found[1]
        fit.counts = counts
        fit.is_done = found is None or len(fit.entries) == MAX_STEPS

    def _best_trial(self, fit: _Fit, tables: Tables, counts: Counts) -> tuple[Entry, Counts] | None:
        best, best_gain = None, SMALLEST_GAIN
        before = self._objective.score(counts[fit.rows])
        for entry in self._trials(fit.rows):
            after = self._counts_after(fit.place, entry, tables)
            gain = self._objective.score(after[fit.rows]) - before
            if gain > best_gain + ROUNDING and self._no_label_falls(counts[fit.rows], after[fit.rows]):
                best, best_gain = (entry, after), gain
        return best

    def _counts_after(self, place: Place, entry: Entry, tables: Tables) -> Counts:
        """Return the counts of all cases after one more step; kept, since folds try much the same steps."""
        key = place, json.dumps(entry)
        if key not in self._trial_counts:
            (step,) = self.steps((entry,))
            self._trial_counts[key] = self._count([table.after(step) for table in tables])
        return self._trial_counts[key]

    def _trials(self, rows: Rows) -> Iterator[Entry]:
        """Yield every step to try, from simple to complex, with volumes of the references of `rows`."""
        for names in trial_labels(self._labels):
            options: dict[str, Any] = {"labels": names} | ({"union": True} if len(names) > 1 else {})
            (group,) = self.steps(({"keep_largest": options},))[0].groups
            yield {"keep_largest": options}
            yield {"fill_holes": options}
            for kind, volumes in (
                ("remove_small", [self._sizes[row].smallest_mm3.get(group) for row in rows]),
                ("volume_floor", [self._sizes[row].total_mm3.get(group) for row in rows]),
            ):
                known = [volume for volume in volumes if volume]
                for share in SHARES if known else ():
                    yield {kind: options | {"min_volume_mm3": _rounded_down(share * min(known))}}

    def _counts(self, tables: Tables) -> Counts:
        return self._count([table.joint for table in tables])

    def _count(self, joints: Sequence[NDArray[np.int64]]) -> Counts:
        return label_counts(without_ignored(np.stack(joints), self._ignore), self._labels)

    def _no_label_falls(self, before: Counts, after: Counts) -> bool:
        """Return whether no label's score falls."""
        old, new = self._objective.by_label(before), self._objective.by_label(after)
        return not (new < old - ROUNDING).any()  # NaN, of a label that no case counts for, is no fall

    def _raises_a_label(self, before: Counts, after: Counts) -> bool:
        old, new = self._objective.by_label(before), self._objective.by_label(after)
        return self._no_label_falls(before, after) and bool((new > old + ROUNDING).any())


def trial_labels(labels: Labels) -> list[list[str]]:
    """Return the names of each group of labels to try: each label alone, then all foreground together."""
    alone = [[labels.names[channel]] for channel in labels.foreground]
    return [*alone, [name for (name,) in alone]] if len(alone) > 1 else alone


def trial_groups(labels: Labels) -> list[Group]:
    """Return the groups of labels that steps are tried for, each once."""
    groups = [
        resolve_steps([{"keep_largest": {"labels": names, "union": len(names) > 1}}], labels)[0].groups[0]
        for names in trial_labels(labels)
    ]
    return list(dict.fromkeys(groups))


def _rounded_down(volume_mm3: float) -> float:
    """Round down to three digits, so that a component as small as the smallest one stays."""
    unit = 10.0 ** (math.floor(math.log10(volume_mm3)) - 2)
    return float(f"{math.floor(volume_mm3 / unit * (1 + 1e-12)) * unit:.6g}")
