"""Tuning's cases, read once by the workers and put together again for post-processing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nnunet_ext.ensemble.candidates import Candidate
from nnunet_ext.ensemble.scoring import Scorer, Weights
from nnunet_ext.errors import UsageError, WorkerDied, joined_faults
from nnunet_ext.labels import Dataset
from nnunet_ext.overlap import Counts, label_counts, without_ignored
from nnunet_ext.postprocess.components import Group
from nnunet_ext.postprocess.steps import Step
from nnunet_ext.postprocess.tables import CaseTable
from nnunet_ext.postprocess.tuning import trial_groups
from nnunet_ext.volumes import find_images
from nnunet_ext.workers import run_jobs
from nnunet_ext.workflow.cases import FuseJob
from nnunet_ext.workflow.tuning_cases import CaseVolume, ReadJob, TableJob, TuningCase, read_case, table_of
from nnunet_ext.workflow.validation import Validation

WORTH_PROCESSES = 20_000_000  # voxels: starting workers takes about as long

OnCase = Callable[[str, str | None, int], None]


def say_nothing(case_id: str, reason: str | None, n_cases: int) -> None:
    """No progress."""


def read_cases(
    validation: Validation,
    references: Path,
    data: Dataset,
    n_processes: int,
    on_case: OnCase = say_nothing,
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


class Desk:
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
        self.dataset, self._n_processes = dataset, n_processes
        self._groups = tuple(trial_groups(dataset.labels))

    def held_out_tables(self, asked: Sequence[tuple[Candidate, tuple[Step, ...]]]) -> list[list[CaseTable]]:
        """Tables of each case as the weights fitted without its fold segment it, after some steps."""
        plans = [([one.by_fold[fold] for fold in self._folds], steps) for one, steps in asked]
        return self._tables(plans, self._groups)

    def plan_counts(self, plans: Sequence[tuple[Weights, tuple[Step, ...]]]) -> list[Counts]:
        """Counts of all cases under each plan."""
        tables = self._tables([([weights] * len(self._folds), steps) for weights, steps in plans], ())
        joints = [np.stack([table.joint for table in of_plan]) for of_plan in tables]
        return [label_counts(without_ignored(j, self.dataset.ignore), self.dataset.labels) for j in joints]

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
