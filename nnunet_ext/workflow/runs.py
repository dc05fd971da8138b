"""Runs over many cases: fuse an ensemble, post-process a folder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from nnunet_ext.ensemble.members import find_cases
from nnunet_ext.ensemble.plan import Plan, resolve_weights
from nnunet_ext.errors import PlanError, UsageError
from nnunet_ext.labels import Labels, read_dataset
from nnunet_ext.outputs import check_segmentations
from nnunet_ext.parts import Part
from nnunet_ext.postprocess.steps import Step
from nnunet_ext.volumes import find_images
from nnunet_ext.workers import default_processes
from nnunet_ext.workflow.cases import (
    CaseRecord,
    FuseJob,
    PostprocessJob,
    fuse_case,
    postprocess_case,
)
from nnunet_ext.workflow.outcomes import (
    OnCase,
    check_dataset_json,
    check_no_zip_of_a_part,
    check_zip,
    collect,
    keep_dataset_json,
    report_name,
    run_somewhere,
    say_nothing,
    with_zip,
)
from nnunet_ext.workflow.record import Report, describe_plan, describe_run
from nnunet_ext.workflow.sharing import Share, share_out

ENSEMBLE_REPORT = "ensemble_report.json"
POSTPROCESS_REPORT = "postprocess_report.json"


def run_ensemble(
    plan: Plan | Path,
    output: Path,
    *,
    dataset: Path | None = None,
    references: Path | None = None,
    zip_path: Path | None = None,
    n_processes: int | None = None,
    wide: bool = False,
    overwrite: bool = False,
    part: Part | None = None,
    executor: Executor | None = None,
    on_case: OnCase = say_nothing,
) -> Report:
    """Fuse the members of a plan, post-process and export every case; those of weight 0 are not read.

    Args:
        plan: a plan, or the YAML file that holds one.
        output: folder for one segmentation a case and `ensemble_report.json`.
        dataset: the dataset.json; found beside the members' predictions where it is not given.
        references: folder of the scans; gives the geometry that neither properties nor
            segmentations of the members do, and the cases that there should be.
        zip_path: write all segmentations into this zip, if every case was fused.
        n_processes: workers side by side; 0 is none but this process; None is one a processor.
        wide: write uint16, for labels above 255.
        overwrite: replace segmentations in `output`, and a zip, that no run of ours wrote.
        part: of the cases, sorted by name, to do alone.
        executor: to run the cases on instead of worker processes here, such as that of a cluster.
        on_case: called with each case's record and the number of cases when it ends.

    Returns:
        The report; a case that failed is in it with its reason, and the others are written.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    plan = as_plan(plan)
    check_no_zip_of_a_part(zip_path, part)
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
    found = find_cases(replace(plan, members=members), data.file_ending, tuple(scans))
    if not found.cases:
        folders = ", ".join(map(str, _folders(plan)))
        raise UsageError(
            f"No probabilities (CASE.npz, CASE.b2nd) in {folders}. Predict with --save_probabilities."
        )
    chosen = part.select(found.cases) if part else found.cases
    ours = check_segmentations(
        output, [f"{one.case_id}{data.file_ending}" for one in chosen], overwrite=overwrite
    )
    check_dataset_json(dataset_file, output, overwrite=overwrite)
    check_zip(zip_path, data, overwrite=overwrite)
    settings = (
        describe_run(dataset_file, data.labels, steps) | describe_plan(plan, data.labels, weights) | ours
    )
    warnings = tuple(f"{path}: macOS or Windows left it; it was passed over" for path in found.junk)
    report = Report(output / report_name(ENSEMBLE_REPORT, part), settings, (), warnings)
    report.begin()
    keep_dataset_json(dataset_file, output, overwrite=overwrite)
    n_processes = default_processes() if n_processes is None else n_processes
    share = Share(0, 1)
    if executor is None:
        share = share_out(n_processes, chosen, psutil.virtual_memory().available)
    names = tuple(member.name for member in members)
    rows = tuple(tuple(row) for row in weights[counted].tolist())
    jobs = [
        FuseJob(data, steps, output, wide, case, names, rows, scans.get(case.case_id), share.n_threads)
        for case in chosen
        if case.fault is None
    ]
    faulty = [CaseRecord(case.case_id, case.fault) for case in chosen if case.fault]
    with share.pool() as pool:
        outcomes = run_somewhere(fuse_case, jobs, share.n_workers, executor or pool)
        cases = collect(outcomes, len(jobs), faulty, on_case)
    report = replace(report, cases=cases)
    if zip_path is not None:
        report = with_zip(report, zip_path, data, scans or None)
    return report.written()


def run_postprocess(
    folder: Path,
    output: Path,
    steps: Sequence[Any],
    *,
    dataset: Path,
    n_processes: int | None = None,
    wide: bool = False,
    overwrite: bool = False,
    part: Part | None = None,
    executor: Executor | None = None,
    on_case: OnCase = say_nothing,
) -> Report:
    """Apply steps of post-processing to every segmentation of a folder.

    Args:
        folder: one segmentation a case.
        output: folder for the results and `postprocess_report.json`; not the same folder.
        steps: in order, as written in a plan.
        dataset: the dataset.json.
        n_processes: workers side by side; 0 is none but this process; None is one a processor.
        wide: write uint16, for labels above 255.
        overwrite: replace segmentations in `output` that no run of ours wrote.
        part: of the cases, sorted by name, to do alone.
        executor: to run the cases on instead of worker processes here, such as that of a cluster.
        on_case: called with each case's record and the number of cases when it ends.

    Returns:
        The report; a case that failed is in it with its reason, and the others are written.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    data = read_dataset(dataset)
    resolved = resolve_steps_of(steps, data.labels)
    if not resolved:
        raise UsageError("No step of post-processing was given; name at least one.")
    images = find_images(folder, data.file_ending, scans=False)
    check_apart(output, [folder])
    jobs = [PostprocessJob(data, resolved, output, wide, path) for path in images.values()]
    jobs = part.select(jobs) if part else jobs
    ours = check_segmentations(output, [job.target.name for job in jobs], overwrite=overwrite)
    check_dataset_json(dataset, output, overwrite=overwrite)
    report = Report(
        output / report_name(POSTPROCESS_REPORT, part),
        describe_run(dataset, data.labels, resolved) | ours,
        (),
    )
    report.begin()
    keep_dataset_json(dataset, output, overwrite=overwrite)
    n_processes = default_processes() if n_processes is None else n_processes
    cases = collect(run_somewhere(postprocess_case, jobs, n_processes, executor), len(jobs), [], on_case)
    return replace(report, cases=cases).written()


def find_dataset_json(plan: Plan) -> Path:
    """The dataset.json beside the members' predictions, or in the model folder of a validation folder.

    Raises:
        UsageError: there is none.
    """
    return dataset_json_of(_folders(plan))


def dataset_json_of(folders: Sequence[Path]) -> Path:
    """The dataset.json in one of the folders, or in the model folder of a validation folder.

    Raises:
        UsageError: there is none.
    """
    for folder in folders:
        for place in (folder, folder.parent.parent):
            if (place / "dataset.json").is_file():
                return place / "dataset.json"
    raise UsageError(f"No dataset.json in {', '.join(map(str, folders))}. Name the data set's with -d.")


def _folders(plan: Plan) -> list[Path]:
    return [folder for member in plan.members for folder in member.folders]


def check_apart(output: Path, inputs: Sequence[Path]) -> None:
    """Refuse to write where segmentations of the same names may lie already, as input."""
    for folder in inputs:
        if folder.resolve() == output.resolve():
            raise UsageError(
                f"{folder} is input and output; its files would be lost. Choose another with -o."
            )


def as_plan(plan: Plan | Path) -> Plan:
    """The plan itself, or the one that the file holds."""
    if isinstance(plan, Plan):
        return plan
    from nnunet_ext.ensemble.plan_file import read_plan  # pydantic and yaml only where a file is read

    return read_plan(plan)


def resolve_steps_of(entries: Sequence[Any], labels: Labels) -> tuple[Step, ...]:
    """Steps of post-processing from the entries of a plan; none are none."""
    if not entries:
        return ()
    from nnunet_ext.postprocess.step_list import resolve_steps  # as above

    return resolve_steps(entries, labels)
