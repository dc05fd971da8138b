"""Run an ensemble: fuse, post-process and export every case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from nnunet_ext.ensemble.case import FuseJob, fuse_case
from nnunet_ext.ensemble.members import FoundCases, find_member_cases
from nnunet_ext.ensemble.plan import Plan, describe_plan, resolve_weights
from nnunet_ext.ensemble.plan_file import as_plan
from nnunet_ext.ensemble.workers import Workers, choose_workers
from nnunet_ext.errors import PlanError, UsageError
from nnunet_ext.files.outputs import check_apart, check_segmentations
from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.jobs.report import CaseRecord, Report, collect
from nnunet_ext.nnunet.dataset_json import (
    check_same_labels,
    dataset_json_of,
    keep_dataset_json,
    read_dataset,
)
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.postprocess.run import describe_run
from nnunet_ext.postprocess.steps import resolve_steps
from nnunet_ext.submission.submit import check_no_zip_of_a_shard, check_zip, with_zip

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
    """Fuse the members of a plan, post-process and export every case; members of weight 0 are not read.

    Args:
        plan: a plan, or the YAML file that holds one.
        output: folder for one segmentation per case and `ensemble_report.json`.
        dataset: the dataset.json; found beside the members' predictions where it is not given.
        references: folder of the scans, which names the cases to expect; their geometry is taken where the
            members' predictions hold none.
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
    _check_has_folders(plan)
    dataset_file = dataset or find_dataset_json(plan)
    data = read_dataset(dataset_file)
    weights = resolve_weights(plan, data.labels)
    counted: list[int] = np.flatnonzero(weights.any(axis=1)).tolist()
    steps = resolve_steps(plan.postprocess, data.labels)
    check_apart(output, [*_folders(plan), *([references] if references else [])])
    scans = find_images(references, data.file_ending) if references else {}
    found = _find_cases(plan, counted, data.file_ending, tuple(scans))
    chosen = execution.select(found.cases)
    names = [f"{case.case_id}{data.file_ending}" for case in chosen]
    ours = check_segmentations(output, names, overwrite=overwrite)
    check_same_labels(dataset_file, output, overwrite=overwrite)
    check_zip(zip_path, data, overwrite=overwrite)
    described = describe_run(dataset_file, data.labels, steps) | describe_plan(plan, data.labels, weights)
    report = Report(
        path=output / execution.file_name(ENSEMBLE_REPORT),
        settings=described | ours,
        warnings=tuple(f"{path}: macOS or Windows left it; it was ignored" for path in found.junk),
    )
    report.begin()
    keep_dataset_json(dataset_file, output, overwrite=overwrite)
    workers = Workers(0, 1)
    if execution.executor is None:
        workers = choose_workers(execution.n_workers, chosen, psutil.virtual_memory().available)
    rows = tuple(tuple(row) for row in weights[counted].tolist())
    jobs = [
        FuseJob(
            case_id=case.case_id,
            dataset=data,
            steps=steps,
            output=output,
            wide=wide,
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


def _check_has_folders(plan: Plan) -> None:
    """Refuse members of a weight that are trained models without folders of probabilities."""
    models = [member.name for member in plan.members if not member.folders and plan.counts(member.name)]
    if models:
        raise PlanError(
            f"{', '.join(models)}: trained models have no probabilities to fuse yet; run this plan with "
            "`nnunet_ext predict`."
        )


def _find_cases(plan: Plan, counted: Sequence[int], file_ending: str, expected: Sequence[str]) -> FoundCases:
    """Find the cases of the members that have a weight."""
    members = tuple(plan.members[m] for m in counted)
    found = find_member_cases(replace(plan, members=members), file_ending, expected)
    if not found.cases:
        folders = ", ".join(map(str, _folders(plan)))
        raise UsageError(
            f"No probabilities (CASE.npz, CASE.b2nd) in {folders}. Predict with --save_probabilities."
        )
    return found


def find_dataset_json(plan: Plan) -> Path:
    """Find the dataset.json beside the members' predictions, or in the model folder of a validation folder.

    Raises:
        UsageError: there is none.
    """
    return dataset_json_of(_folders(plan))


def _folders(plan: Plan) -> list[Path]:
    return [folder for member in plan.members for folder in member.folders]
