"""Run an ensemble: fuse, post-process and export every case."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from nnunet_ext.ensemble.case import FuseJob, fuse_case
from nnunet_ext.ensemble.members import Case, MemberFile, find_member_cases
from nnunet_ext.ensemble.plan import Plan, describe_plan, resolve_weights
from nnunet_ext.ensemble.plan_file import as_plan
from nnunet_ext.errors import NnunetExtError, PlanError, UsageError
from nnunet_ext.files.outputs import check_apart, check_segmentations
from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.jobs.pool import threads_each
from nnunet_ext.jobs.report import CaseRecord, Report, collect
from nnunet_ext.nnunet.dataset_json import (
    check_same_labels,
    dataset_json_of,
    keep_dataset_json,
    read_dataset,
)
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.postprocess.run import describe_run
from nnunet_ext.postprocess.steps import resolve_steps_of
from nnunet_ext.probabilities.opening import STORE, open_probabilities
from nnunet_ext.probabilities.store_format import SLAB_VOXELS
from nnunet_ext.probabilities.stream import BLOCK_VOXELS
from nnunet_ext.submission.submit import check_no_zip_of_a_shard, check_zip, with_zip

MIB = 1 << 20
COMMAND_BYTES = 40 * MIB  # Python with numpy
WORKER_BYTES = 70 * MIB  # and SimpleITK
BYTES_A_VOXEL = 4 + 3 * 1 + 11  # best score; labels as decided, cleaned and written; connected components
BYTES_OF_BLOCKS = 2 * 4  # a voxel of a block: the one in use and the one read ahead
BYTES_OF_SLABS = 2 + 4  # a voxel of a slab: as stored and as a number
BYTES_OF_SUMS = 2  # a voxel of a stored member: the sum of the labels read so far
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Attributes:
        n_workers: that take whole cases, side by side; 0 is none, one case after the other.
        n_threads: of each.
        in_process: whether the workers are threads of this process, or processes.
    """

    n_workers: int
    n_threads: int
    in_process: bool = False

    def pool(self) -> AbstractContextManager[Executor | None]:
        """The workers, where they are threads."""
        return ThreadPoolExecutor(self.n_workers) if self.in_process else nullcontext()


def share_out(n_processes: int, cases: Sequence[Case], free_bytes: int) -> Workers:
    """Workers and their threads, all together within `n_processes` and the memory there is.

    Inflating npz files releases Python's lock, so their cases are fused on threads of this process,
    which share what a process takes; Blosc2 keeps it, so cases of the store go to worker processes.
    The log tells how much memory it will take, and whether there are fewer workers for want of it.

    Args:
        n_processes: 0 is this process alone.
        cases: to fuse.
        free_bytes: of memory.
    """
    here = n_processes == 0 or not any(_is_stored(file) for case in cases for file in case.files)
    of_case = fusing_bytes(cases)
    base, each = (WORKER_BYTES, of_case) if here else (COMMAND_BYTES, WORKER_BYTES + of_case)
    n_workers = min(n_processes, max(1, len(cases)))
    fitting = max(1, (free_bytes - base) // each)
    if n_workers > fitting:
        log.warning(
            "%d cases side by side instead of %d: each takes about %d MiB, and %d MiB are free",
            *(fitting, n_workers, each / MIB, free_bytes / MIB),
        )
        n_workers = fitting
    log.info("memory: about %d MiB", (base + each * max(1, n_workers)) / MIB)
    return Workers(n_workers, threads_each(n_processes, n_workers), in_process=here and n_workers > 0)


def fusing_bytes(cases: Sequence[Case]) -> int:
    """Memory that fusing one of these cases takes at most, as estimated from the largest files.

    It grows with the voxels of a scan and with the members, not with the labels.
    """
    readable = [case for case in cases if case.fault is None]
    if not readable:
        return MIB
    try:
        largest = max(readable, key=_size)
        n_voxels = math.prod(open_probabilities(largest.files[0].path).shape[1:])
    except (NnunetExtError, OSError):  # which is told when that case is fused
        return MIB
    n_stored = sum(map(_is_stored, largest.files))
    blocks = (len(largest.files) - n_stored) * min(BLOCK_VOXELS, n_voxels) * BYTES_OF_BLOCKS
    stored = n_stored * (min(SLAB_VOXELS, n_voxels) * BYTES_OF_SLABS + n_voxels * BYTES_OF_SUMS)
    return MIB + n_voxels * BYTES_A_VOXEL + blocks + stored


def _is_stored(file: MemberFile) -> bool:
    return file.path.name.endswith(STORE)


def _size(case: Case) -> int:
    return sum(file.path.stat().st_size for file in case.files)


ENSEMBLE_REPORT = "ensemble_report.json"


def run_ensemble(
    plan: Plan | Path,
    output: Path,
    *,
    dataset: Path | None = None,
    references: Path | None = None,
    zip_path: Path | None = None,
    wide: bool = False,
    overwrite: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
) -> Report:
    """Fuse the members of a plan, post-process and export every case; those of weight 0 are not read.

    Args:
        plan: a plan, or the YAML file that holds one.
        output: folder for one segmentation a case and `ensemble_report.json`.
        dataset: the dataset.json; found beside the members' predictions where it is not given.
        references: folder of the scans; gives the geometry that neither properties nor
            segmentations of the members do, and the cases that there should be.
        zip_path: write all segmentations into this zip, if every case was fused.
        wide: write uint16, for labels above 255.
        overwrite: replace segmentations in `output`, and a zip, that no run of ours wrote.
        execution: worker processes or a cluster, the shard of the cases, and who is told of each case.

    Returns:
        The report; a case that failed is in it with its reason, and the others are written.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    plan = as_plan(plan)
    check_no_zip_of_a_shard(zip_path, execution.shard)
    models = [member.name for member in plan.members if not member.folders and plan.counts(member.name)]
    if models:
        raise PlanError(
            f"{', '.join(models)}: trained models have no probabilities to fuse yet; run this plan with "
            "`nnunet_ext predict`."
        )
    dataset_file = dataset or find_dataset_json(plan)
    data = read_dataset(dataset_file)
    weights = resolve_weights(plan, data.labels)
    counted: list[int] = np.flatnonzero(weights.any(axis=1)).tolist()
    members = tuple(plan.members[m] for m in counted)
    steps = resolve_steps_of(plan.postprocess, data.labels)
    check_apart(output, [*_folders(plan), *([references] if references else [])])
    scans = find_images(references, data.file_ending) if references else {}
    found = find_member_cases(replace(plan, members=members), data.file_ending, tuple(scans))
    if not found.cases:
        folders = ", ".join(map(str, _folders(plan)))
        raise UsageError(
            f"No probabilities (CASE.npz, CASE.b2nd) in {folders}. Predict with --save_probabilities."
        )
    chosen = execution.select(found.cases)
    ours = check_segmentations(
        output, [f"{one.case_id}{data.file_ending}" for one in chosen], overwrite=overwrite
    )
    check_same_labels(dataset_file, output, overwrite=overwrite)
    check_zip(zip_path, data, overwrite=overwrite)
    settings = (
        describe_run(dataset_file, data.labels, steps) | describe_plan(plan, data.labels, weights) | ours
    )
    warnings = tuple(f"{path}: macOS or Windows left it; it was passed over" for path in found.junk)
    report = Report(path=output / execution.file_name(ENSEMBLE_REPORT), settings=settings, warnings=warnings)
    report.begin()
    keep_dataset_json(dataset_file, output, overwrite=overwrite)
    workers = Workers(0, 1)
    if execution.executor is None:
        workers = share_out(execution.n_workers, chosen, psutil.virtual_memory().available)
    rows = tuple(tuple(row) for row in weights[counted].tolist())
    jobs = [
        FuseJob(
            dataset=data,
            steps=steps,
            output=output,
            wide=wide,
            case_id=case.case_id,
            case=case,
            weights=rows,
            scan=scans.get(case.case_id),
            n_threads=workers.n_threads,
        )
        for case in chosen
        if case.fault is None
    ]
    faulty = [CaseRecord(case_id=case.case_id, reason=case.fault) for case in chosen if case.fault]
    with workers.pool() as pool:
        here = replace(execution, n_processes=workers.n_workers, executor=execution.executor or pool)
        cases = collect(here.run(fuse_case, jobs), len(jobs), faulty, execution)
    report = replace(report, cases=cases)
    if zip_path is not None:
        report = with_zip(report, zip_path, data, scans or None)
    return report.written()


def find_dataset_json(plan: Plan) -> Path:
    """The dataset.json beside the members' predictions, or in the model folder of a validation folder.

    Raises:
        UsageError: there is none.
    """
    return dataset_json_of(_folders(plan))


def _folders(plan: Plan) -> list[Path]:
    return [folder for member in plan.members for folder in member.folders]
