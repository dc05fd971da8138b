"""The run that learns weights and post-processing from cross-validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunet_ext.ensemble.candidates import (
    EQUAL,
    SINGLE,
    Candidate,
    Weights,
    make_candidates,
)
from nnunet_ext.ensemble.plan import Plan
from nnunet_ext.ensemble.recommendation import Rated, rate, recommend
from nnunet_ext.ensemble.scoring import Scorer
from nnunet_ext.errors import UsageError, WorkerDied, joined_faults
from nnunet_ext.labels import Dataset, read_dataset
from nnunet_ext.objective import Objective
from nnunet_ext.overlap import Counts, label_counts, without_ignored
from nnunet_ext.postprocess.components import Group
from nnunet_ext.postprocess.steps import Step
from nnunet_ext.postprocess.tables import CaseTable
from nnunet_ext.postprocess.tuning import Entries, Learnt, StepTuner, trial_groups
from nnunet_ext.volumes import find_images
from nnunet_ext.workers import default_processes, run_jobs
from nnunet_ext.workflow.cases import FuseJob
from nnunet_ext.workflow.tuning_cases import CaseVolume, ReadJob, TableJob, TuningCase, read_case, table_of
from nnunet_ext.workflow.validation import Validation, find_validation

WORTH_PROCESSES = 20_000_000  # voxels: starting workers takes about as long
SEARCH_VOXELS = 1 << 14  # contested ones of each case that a search looks at

OnCase = Callable[[str, str | None, int], None]


def _say_nothing(case_id: str, reason: str | None, n_cases: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class Row:
    """One candidate as it was rated.

    Attributes:
        candidate: members and weights.
        rated: on held-out cases.
        learnt: its steps of post-processing; None where it goes without.
        fitted: counts of all cases under the weights and steps fitted on all of them.
        held_out: counts of each case under those fitted without its fold.
    """

    candidate: Candidate
    rated: Rated
    learnt: Learnt | None
    fitted: Counts
    held_out: Counts

    @property
    def name(self) -> str:
        """As tables call it."""
        return self.candidate.name + (" + post-processing" if self.learnt else "")

    @property
    def complexity(self) -> int:
        """The less, the simpler; post-processing is less of a step than the next kind of weights."""
        return 2 * self.candidate.complexity + (self.learnt is not None)

    @property
    def eligible(self) -> bool:
        """Whether it may be recommended: its steps hold on cases that they were not learnt on."""
        return self.learnt is None or self.learnt.accepted

    @property
    def entries(self) -> Entries:
        """Its steps as a plan writes them."""
        return self.learnt.entries if self.learnt else ()


@dataclass(frozen=True)
class Tuning:
    """What a tuning found.

    Attributes:
        dataset: labels and file ending.
        validation: members, cases and folds.
        objective: what was raised.
        rows: all candidates, from simple to complex.
        recommended: index of the one to take.
        failed: why a case was left out, by case.
        contested_share: of all voxels, those that weights can change.
        kept_bytes: of the values that scoring keeps.
        reading_s: seconds of the one pass over the files.
        searching_s: seconds of everything after it.
    """

    dataset: Dataset
    validation: Validation
    objective: Objective
    rows: tuple[Row, ...]
    recommended: int
    failed: Mapping[str, str]
    contested_share: float
    kept_bytes: int
    reading_s: float
    searching_s: float

    @property
    def best_single(self) -> Row:
        """The best of the members alone."""
        singles = [row for row in self.rows if row.candidate.complexity == SINGLE and row.learnt is None]
        return max(singles, key=lambda row: row.rated.score)


def run_tuning(
    folders: Mapping[str, Sequence[Path]],
    references: Path,
    *,
    dataset: Path,
    objective: Objective | None = None,
    n_processes: int | None = None,
    on_case: OnCase = _say_nothing,
) -> Tuning:
    """Learn weights and post-processing on validation probabilities, and say what they are worth.

    Args:
        folders: by the member's name, trained models' folders or folders of probabilities.
        references: one segmentation a case.
        dataset: the dataset.json.
        objective: what to raise; the mean over labels of the mean Dice over cases unless given.
        n_processes: workers side by side; 0 is none but this process; None is one a processor.
        on_case: called with each case that was read, why it failed or None, and the number of cases.

    Returns:
        All candidates with their scores; a case that failed is left out and told.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read, or where fewer than two could be.
    """
    objective = objective or Objective()
    n_processes = default_processes() if n_processes is None else n_processes
    data = read_dataset(dataset)
    validation = find_validation(folders, data.file_ending)
    started = time.perf_counter()
    cases, failed = read_cases(validation, references, data, n_processes, on_case)
    validation = _only(validation, [case.scored.case_id for case in cases])
    read = time.perf_counter()
    scorer = Scorer([case.scored for case in cases], data.labels, data.ignore)
    n_voxels = sum(int(np.prod(case.volume.settled.shape)) for case in cases)
    n_contested = sum(len(case.volume.voxels) for case in cases)
    kept_bytes = sum(case.scored.values.nbytes for case in cases)
    names = [member.name for member in validation.plan.members]
    search = Scorer([case.scored.thinned(SEARCH_VOXELS) for case in cases], data.labels, data.ignore)
    candidates = make_candidates(scorer, objective, validation.folds, names, search)
    sizes, volumes = [case.sizes for case in cases], [case.volume for case in cases]
    del cases, search
    desk = _Desk(scorer, volumes, validation.folds, data, n_processes)
    processed = _worth_processing(candidates, objective)
    tuner = StepTuner(
        lambda asked: desk.held_out_tables([(processed[number], steps) for number, steps in asked]),
        sizes,
        data.labels,
        objective,
        data.ignore,
    )
    learnt = [
        (candidate, one)
        for candidate, one in zip(processed, tuner.learn(validation.folds, len(processed)), strict=True)
        if one.entries
    ]
    plans = [(candidate.weights, tuner.steps(one.entries)) for candidate, one in learnt]
    rows = [_bare(candidate) for candidate in candidates] + [
        Row(candidate, _UNRATED, one, fitted, one.held_out)
        for (candidate, one), fitted in zip(learnt, desk.plan_counts(plans), strict=True)
    ]
    rows.sort(key=lambda row: row.complexity)
    rated = rate([row.held_out for row in rows], objective, [row.eligible for row in rows])
    rows = [replace(row, rated=one) for row, one in zip(rows, rated, strict=True)]
    chosen = recommend(rated, [row.complexity for row in rows], [row.eligible for row in rows])
    return Tuning(
        data,
        validation,
        objective,
        tuple(rows),
        chosen,
        failed,
        n_contested / n_voxels,
        kept_bytes,
        read - started,
        time.perf_counter() - read,
    )


_UNRATED = Rated(float("nan"), 0.0, 0.0, 0.0, 0.0)


def _bare(candidate: Candidate) -> Row:
    return Row(candidate, _UNRATED, None, candidate.fitted, candidate.held_out)


def _worth_processing(candidates: Sequence[Candidate], objective: Objective) -> list[Candidate]:
    """The best single member and all ensembles: another single member is not going to be recommended."""
    singles = [one for one in candidates if one.complexity == SINGLE]
    best = max(singles, key=lambda one: objective.score(one.held_out))
    return [best, *(one for one in candidates if one.complexity >= EQUAL)]


class _Desk:
    """Puts segmentations together and tabulates them on the workers."""

    def __init__(
        self,
        scorer: Scorer,
        volumes: Sequence[CaseVolume],
        folds: Sequence[str],
        dataset: Dataset,
        n_processes: int,
    ) -> None:
        self._scorer, self._volumes, self._folds = scorer, volumes, folds
        self._dataset, self._n_processes = dataset, n_processes
        self._groups = tuple(trial_groups(dataset.labels))

    def held_out_tables(self, asked: Sequence[tuple[Candidate, tuple[Step, ...]]]) -> list[list[CaseTable]]:
        """Tables of each case as the weights fitted without its fold segment it, after some steps."""
        plans = [([one.by_fold[fold] for fold in self._folds], steps) for one, steps in asked]
        return self._tables(plans, self._groups)

    def plan_counts(self, plans: Sequence[tuple[Weights, tuple[Step, ...]]]) -> list[Counts]:
        """Counts of all cases under each plan."""
        tables = self._tables([([weights] * len(self._folds), steps) for weights, steps in plans], ())
        joints = [np.stack([table.joint for table in of_plan]) for of_plan in tables]
        return [label_counts(without_ignored(j, self._dataset.ignore), self._dataset.labels) for j in joints]

    def _tables(
        self, plans: Sequence[tuple[Sequence[Weights], tuple[Step, ...]]], groups: tuple[Group, ...]
    ) -> list[list[CaseTable]]:
        """For each plan, with weights of each case, the tables of all cases."""
        n_values, n_cases = self._scorer.n_values, len(self._volumes)
        jobs = [
            TableJob(plan * n_cases + case, volume, self._scorer.decided(case, own), steps, groups, n_values)
            for plan, (weights, steps) in enumerate(plans)
            for case, (volume, own) in enumerate(zip(self._volumes, weights, strict=True))
        ]
        n_voxels = len(plans) * sum(math.prod(volume.settled.shape) for volume in self._volumes)
        n_processes = self._n_processes if n_voxels > WORTH_PROCESSES else 0
        tables: dict[int, CaseTable] = {}
        for outcome in run_jobs(table_of, jobs, n_processes):
            if outcome.result is None:
                raise WorkerDied(f"post-processing could not be tried: {outcome.reason}")
            tables[outcome.job.number] = outcome.result
        return [[tables[plan * n_cases + case] for case in range(n_cases)] for plan in range(len(plans))]


def read_cases(
    validation: Validation,
    references: Path,
    data: Dataset,
    n_processes: int,
    on_case: OnCase = _say_nothing,
) -> tuple[list[TuningCase], dict[str, str]]:
    """Read all cases once; those that cannot be are given with the reason.

    Raises:
        UsageError: fewer than two could be read.
    """
    expected = find_images(references, data.file_ending, scans=False)
    groups = tuple(trial_groups(data.labels))
    names = tuple(member.name for member in validation.plan.members)
    failed = {
        case.case_id: f"{references} holds no {case.case_id}{data.file_ending}"
        for case in validation.cases
        if case.case_id not in expected
    }
    jobs = [
        ReadJob(FuseJob(data, (), Path(), False, case, names, (), None), expected[case.case_id], groups)
        for case in validation.cases
        if case.case_id in expected
    ]
    read = []
    for outcome in run_jobs(read_case, jobs, n_processes):
        on_case(outcome.job.case_id, outcome.reason, len(jobs))
        if outcome.result is None:
            failed[outcome.job.case_id] = outcome.reason or "no reason"
        else:
            read.append(outcome.result)
    if len(read) < 2:
        reasons = [f"{case}: {reason}" for case, reason in sorted(failed.items())]
        raise UsageError(
            joined_faults(f"{len(read)} cases could be read; weights take two at least:", reasons)
        )
    return sorted(read, key=lambda case: case.scored.case_id), dict(sorted(failed.items()))


def _only(validation: Validation, case_ids: Sequence[str]) -> Validation:
    """The same without the cases that failed."""
    kept = [
        (case, fold)
        for case, fold in zip(validation.cases, validation.folds, strict=True)
        if case.case_id in set(case_ids)
    ]
    folds = tuple(fold for _, fold in kept)
    if len(set(folds)) < 2:
        folds = tuple(f"group {number % 2}" for number in range(len(kept)))
    return replace(validation, cases=tuple(case for case, _ in kept), folds=folds)


def plan_of(tuning: Tuning) -> Plan:
    """The recommended plan: members with any weight, each label's weights, and its steps."""
    row = tuning.rows[tuning.recommended]
    weights, labels = row.candidate.weights, tuning.dataset.labels
    used = [m for m in range(len(weights)) if weights[m].any()]
    members = tuple(tuning.validation.plan.members[m] for m in used)

    def column(channel: int) -> dict[str, float]:
        return {member.name: float(weights[m, channel]) for member, m in zip(members, used, strict=True)}

    columns = [column(channel) for channel in range(len(labels))]
    default = columns[0]
    by_label: dict[str | int, dict[str, float]] = {
        labels.names[c]: one for c, one in enumerate(columns) if one != default
    }
    return Plan(members, default, by_label, tuple(row.entries))
