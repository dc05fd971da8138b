"""Cases of a tuning: read once, then put together as candidates segment them, and tabulated for steps.

Reading and tabulating run on worker processes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.case import find_grid, open_case, streams_of
from nnunet_ext.ensemble.members import Case
from nnunet_ext.errors import GeometryMismatch, SegmentationError, UsageError, WorkerDied, joined_faults
from nnunet_ext.images.image import as_labels, read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.metrics.overlap import (
    Counts,
    check_values,
    joint_histogram,
    label_counts,
    n_values_of,
    without_ignored,
)
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.postprocess.components import Group, Segmentation
from nnunet_ext.postprocess.steps import Step
from nnunet_ext.probabilities.placement import as_volume
from nnunet_ext.probabilities.stream import Layout
from nnunet_ext.tuning.candidates import Candidate
from nnunet_ext.tuning.contested import find_contested
from nnunet_ext.tuning.postprocess import ReferenceSizes, trial_groups
from nnunet_ext.tuning.postprocess_tables import CaseTable, component_sizes, tabulate
from nnunet_ext.tuning.scoring import ScoredCase, Scorer, Weights
from nnunet_ext.tuning.validation import CrossValidation

LEVEL = 1  # of zlib: even the lowest level makes segmentations a hundred times smaller


@dataclass(frozen=True)
class Packed:
    """An array of labels, compressed in memory."""

    shape: tuple[int, ...]
    dtype: str
    data: bytes

    @classmethod
    def of(cls, array: NDArray[np.integer[Any]]) -> Packed:
        """Compress an array."""
        return cls(array.shape, array.dtype.str, zlib.compress(np.ascontiguousarray(array).data, LEVEL))

    def unpacked(self) -> Segmentation:
        """Decompress the array; it may be written to."""
        data = bytearray(zlib.decompress(self.data))
        return np.frombuffer(data, np.dtype(self.dtype)).reshape(self.shape)


@dataclass(frozen=True)
class ReadJob:
    """A job that reads one case.

    Attributes:
        case: its files of probabilities.
        dataset: labels and file ending.
        reference: its reference segmentation.
        groups: groups of labels whose volumes in the reference are measured.
    """

    case: Case
    dataset: Dataset
    reference: Path
    groups: tuple[Group, ...]

    @property
    def case_id(self) -> str:
        """The case's name."""
        return self.case.case_id


@dataclass(frozen=True)
class CaseVolume:
    """The labels of one case, on the axes of its file.

    Attributes:
        settled: the segmentation, 0 at the contested voxels, whose label depends on the weights.
        voxels: indices of the contested voxels.
        reference: the reference segmentation.
        voxel_mm3: volume of a voxel.
    """

    settled: Packed
    voxels: NDArray[np.int64]
    reference: Packed
    voxel_mm3: float


@dataclass(frozen=True)
class TuningCase:
    """One case that was read: values for scoring weights, its labels, and volumes in its reference."""

    scored: ScoredCase
    volume: CaseVolume
    sizes: ReferenceSizes


def read_case(job: ReadJob) -> TuningCase:
    """Read a case's probabilities and reference once; keep its contested voxels' values and all labels.

    Raises:
        NnunetExtError: a file is damaged, or reference and members lie on different grids.
    """
    labels = job.dataset.labels
    files = open_case(job.case, labels)
    layout = Layout(files[0].shape[0], files[0].shape[1:])
    array, geometry = read_segmentation(job.reference)
    reference = as_labels(array, str(job.reference)).reshape(as_volume(array.shape))
    placement = find_grid(job.case, files, job.dataset.file_ending, known=job.reference).placement
    if as_volume(placement.file.shape) != reference.shape:
        raise GeometryMismatch(
            f"{job.reference} has shape {geometry.shape}, the probabilities {layout.shape}."
        )
    found = find_contested(lambda: streams_of(job.case, files, labels, layout), labels, layout)
    flat = placement.to_reader(reference).reshape(-1)
    n_values = n_values_of(labels)
    whole = joint_histogram(found.settled, flat, n_values)
    try:
        check_values(whole.sum(axis=0), labels, job.dataset.ignore)
    except SegmentationError as error:
        raise SegmentationError(f"{job.reference}: {error}") from None
    open_ = flat[found.voxels]
    settled = whole - joint_histogram(np.zeros_like(open_), open_, len(whole))
    scored = ScoredCase(
        case_id=job.case_id,
        members=tuple(file.member for file in job.case.files),
        shares=tuple(file.share for file in job.case.files),
        values=found.values,
        reference=open_,
        settled=settled,
    )
    return TuningCase(
        scored,
        CaseVolume(
            Packed.of(placement.to_file(found.settled.reshape(layout.shape))),
            placement.voxels_in_file(found.voxels),
            Packed.of(reference),
            geometry.voxel_mm3,
        ),
        _sizes(reference, job.groups, geometry.voxel_mm3),
    )


def _sizes(reference: Segmentation, groups: tuple[Group, ...], voxel_mm3: float) -> ReferenceSizes:
    sizes = {group: found for group, found in component_sizes(reference, groups).items() if len(found)}
    return ReferenceSizes(
        {group: float(found.min()) * voxel_mm3 for group, found in sizes.items()},
        {group: float(found.sum()) * voxel_mm3 for group, found in sizes.items()},
    )


@dataclass(frozen=True, kw_only=True)
class TableJob:
    """A job that tabulates one case after some steps of post-processing.

    Attributes:
        number: number of the job, by which its table is sorted among those of all jobs.
        volume: labels of the case.
        decided: labels of its contested voxels.
        steps: steps to apply first.
        groups: groups of labels that the next step may be for.
        n_values: the least number of rows and columns of the counts.
    """

    number: int
    volume: CaseVolume
    decided: Segmentation
    steps: tuple[Step, ...]
    groups: tuple[Group, ...]
    n_values: int


def table_of(job: TableJob) -> CaseTable:
    """Put a case's segmentation together, apply steps, and tabulate what each further step would do."""
    volume = job.volume
    segmentation = volume.settled.unpacked()
    segmentation.reshape(-1)[volume.voxels] = job.decided
    for step in job.steps:
        segmentation = step.apply(segmentation, volume.voxel_mm3)
    return tabulate(segmentation, volume.reference.unpacked(), job.groups, volume.voxel_mm3, job.n_values)


WORTH_PROCESSES = 20_000_000  # voxels: for fewer, starting workers takes longer than the work


def read_cases(
    validation: CrossValidation,
    references: Path,
    data: Dataset,
    execution: Execution,
) -> tuple[list[TuningCase], dict[str, str]]:
    """Read all cases once; return them sorted, and the reasons why other cases could not be read.

    Raises:
        UsageError: fewer than two could be read.
    """
    expected = find_images(references, data.file_ending, scans=False)
    groups = tuple(trial_groups(data.labels))
    failed = {
        case.case_id: f"{references} holds no {case.case_id}{data.file_ending}"
        for case in validation.cases
        if case.case_id not in expected
    }
    jobs = [
        ReadJob(case, data, expected[case.case_id], groups)
        for case in validation.cases
        if case.case_id in expected
    ]
    read = []
    for outcome in execution.run_cases(read_case, jobs):
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


class Tabulator:
    """Tabulates the segmentations of all cases under given weights and steps, on worker processes.

    Args:
        scorer: counts the voxels of all cases.
        volumes: the labels of each case, in the scorer's order.
        folds: the fold of each case.
        dataset: labels and file ending.
        execution: worker processes or a cluster.
    """

    def __init__(
        self,
        scorer: Scorer,
        volumes: Sequence[CaseVolume],
        folds: Sequence[str],
        dataset: Dataset,
        execution: Execution,
    ) -> None:
        self._scorer, self._volumes, self._folds = scorer, volumes, folds
        self.dataset, self._execution = dataset, execution
        self._groups = tuple(trial_groups(dataset.labels))

    def held_out_tables(self, asked: Sequence[tuple[Candidate, tuple[Step, ...]]]) -> list[list[CaseTable]]:
        """Tabulate each case as the weights fitted without its fold segment it, after some steps."""
        plans = [([one.by_fold[fold] for fold in self._folds], steps) for one, steps in asked]
        return self._tables(plans, self._groups)

    def plan_counts(self, plans: Sequence[tuple[Weights, tuple[Step, ...]]]) -> list[Counts]:
        """Count voxels of all cases under each plan of weights and steps."""
        tables = self._tables([([weights] * len(self._folds), steps) for weights, steps in plans], ())
        joints = [np.stack([table.joint for table in of_plan]) for of_plan in tables]
        return [label_counts(without_ignored(j, self.dataset.ignore), self.dataset.labels) for j in joints]

    def _tables(
        self, plans: Sequence[tuple[Sequence[Weights], tuple[Step, ...]]], groups: tuple[Group, ...]
    ) -> list[list[CaseTable]]:
        """Tabulate all cases for each plan, which has weights of its own for each case."""
        n_values, n_cases = self._scorer.n_values, len(self._volumes)
        jobs = [
            TableJob(
                number=plan * n_cases + case,
                volume=volume,
                decided=self._scorer.decided(case, own),
                steps=steps,
                groups=groups,
                n_values=n_values,
            )
            for plan, (weights, steps) in enumerate(plans)
            for case, (volume, own) in enumerate(zip(self._volumes, weights, strict=True))
        ]
        n_voxels = len(plans) * sum(math.prod(volume.settled.shape) for volume in self._volumes)
        execution = self._execution if n_voxels > WORTH_PROCESSES else IN_THIS_PROCESS
        tables: dict[int, CaseTable] = {}
        for outcome in execution.run(table_of, jobs):
            if outcome.result is None:
                raise WorkerDied(f"steps of post-processing could not be tried on a case: {outcome.reason}")
            tables[outcome.job.number] = outcome.result
        return [[tables[plan * n_cases + case] for case in range(n_cases)] for plan in range(len(plans))]
