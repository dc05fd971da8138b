"""Runs over many cases: fuse an ensemble, post-process a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from nnunet_ext.ensemble.members import Case, find_cases
from nnunet_ext.ensemble.plan import Plan, resolve_weights
from nnunet_ext.errors import SubmissionError, UsageError
from nnunet_ext.labels import Dataset, Labels, read_dataset
from nnunet_ext.postprocess.steps import Step
from nnunet_ext.probabilities.opening import STORE
from nnunet_ext.volumes import find_images
from nnunet_ext.workers import Outcome, default_processes, paired, run_jobs, threads_each
from nnunet_ext.workflow.cases import (
    CaseJob,
    CaseRecord,
    FuseJob,
    PostprocessJob,
    fuse_case,
    postprocess_case,
)
from nnunet_ext.workflow.record import Report, describe_plan, describe_run

ENSEMBLE_REPORT = "ensemble_report.json"
POSTPROCESS_REPORT = "postprocess_report.json"

OnCase = Callable[[CaseRecord, int], None]
AnyJob = TypeVar("AnyJob", bound=CaseJob)


def _say_nothing(record: CaseRecord, n_cases: int) -> None:
    """No progress."""


def run_ensemble(
    plan: Plan | Path,
    output: Path,
    *,
    dataset: Path | None = None,
    references: Path | None = None,
    zip_path: Path | None = None,
    n_processes: int | None = None,
    wide: bool = False,
    on_case: OnCase = _say_nothing,
) -> Report:
    """Fuse the members of a plan, post-process and export every case.

    Args:
        plan: a plan, or the YAML file that holds one.
        output: folder for one segmentation a case and `ensemble_report.json`.
        dataset: the dataset.json; found beside the members' predictions where it is not given.
        references: folder of the scans; gives the geometry that neither properties nor
            segmentations of the members do, and the cases that there should be.
        zip_path: write all segmentations into this zip, if every case was fused.
        n_processes: workers side by side; 0 is none but this process; None is one a processor.
        wide: write uint16, for labels above 255.
        on_case: called with each case's record and the number of cases when it ends.

    Returns:
        The report; a case that failed is in it with its reason, and the others are written.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    plan = _as_plan(plan)
    dataset_file = dataset or find_dataset_json(plan)
    data = read_dataset(dataset_file)
    weights = resolve_weights(plan, data.labels)
    steps = _resolve_steps(plan.postprocess, data.labels)
    _check_apart(output, [*_folders(plan), *([references] if references else [])])
    scans = find_images(references, data.file_ending) if references else {}
    found = find_cases(plan, data.file_ending, tuple(scans))
    if not found.cases:
        folders = ", ".join(map(str, _folders(plan)))
        raise UsageError(
            f"No probabilities (CASE.npz, CASE.b2nd) in {folders}. Predict with --save_probabilities."
        )
    n_processes = default_processes() if n_processes is None else n_processes
    n_workers, n_threads = _share(n_processes, found.cases)
    names = tuple(member.name for member in plan.members)
    rows = tuple(tuple(row) for row in weights.tolist())
    jobs = [
        FuseJob(data, steps, output, wide, case, names, rows, scans.get(case.case_id), n_threads)
        for case in found.cases
        if case.fault is None
    ]
    faulty = [CaseRecord(case.case_id, case.fault) for case in found.cases if case.fault]
    cases = _run_all(fuse_case, jobs, faulty, n_workers, on_case)
    settings = describe_run(dataset_file, data.labels, steps) | describe_plan(plan, data.labels, weights)
    warnings = tuple(f"{path}: macOS or Windows left it; it was passed over" for path in found.junk)
    report = Report(output / ENSEMBLE_REPORT, settings, cases, warnings)
    if zip_path is not None:
        report = _with_zip(report, zip_path, data, scans or None)
    report.write()
    return report


def run_postprocess(
    folder: Path,
    output: Path,
    steps: Sequence[Any],
    *,
    dataset: Path,
    n_processes: int | None = None,
    wide: bool = False,
    on_case: OnCase = _say_nothing,
) -> Report:
    """Apply steps of post-processing to every segmentation of a folder.

    Args:
        folder: one segmentation a case.
        output: folder for the results and `postprocess_report.json`; not the same folder.
        steps: in order, as written in a plan.
        dataset: the dataset.json.
        n_processes: workers side by side; 0 is none but this process; None is one a processor.
        wide: write uint16, for labels above 255.
        on_case: called with each case's record and the number of cases when it ends.

    Returns:
        The report; a case that failed is in it with its reason, and the others are written.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    data = read_dataset(dataset)
    resolved = _resolve_steps(steps, data.labels)
    if not resolved:
        raise UsageError("No step of post-processing was given; name at least one.")
    images = find_images(folder, data.file_ending, scans=False)
    _check_apart(output, [folder])
    jobs = [PostprocessJob(data, resolved, output, wide, path) for path in images.values()]
    cases = _run_all(postprocess_case, jobs, [], n_processes, on_case)
    report = Report(output / POSTPROCESS_REPORT, describe_run(dataset, data.labels, resolved), cases)
    report.write()
    return report


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


def _share(n_processes: int, cases: Sequence[Case]) -> tuple[int, int]:
    """Worker processes, and threads of each.

    Inflating npz files releases Python's lock, so their members are read side by side on threads;
    Blosc2 keeps it, so cases of the store are fused side by side on processes.
    """
    if any(source.path.name.endswith(STORE) for case in cases for source in case.sources):
        return n_processes, threads_each(n_processes, len(cases))
    return paired(n_processes, len(cases))


def _folders(plan: Plan) -> list[Path]:
    return [folder for member in plan.members for folder in member.folders]


def _check_apart(output: Path, inputs: Sequence[Path]) -> None:
    """Refuse to write where segmentations of the same names may lie already, as input."""
    for folder in inputs:
        if folder.resolve() == output.resolve():
            raise UsageError(
                f"{folder} is input and output; its files would be lost. Choose another with -o."
            )


def _as_plan(plan: Plan | Path) -> Plan:
    if isinstance(plan, Plan):
        return plan
    from nnunet_ext.ensemble.plan_file import read_plan  # pydantic and yaml only where a file is read

    return read_plan(plan)


def _resolve_steps(entries: Sequence[Any], labels: Labels) -> tuple[Step, ...]:
    if not entries:
        return ()
    from nnunet_ext.postprocess.step_list import resolve_steps  # as above

    return resolve_steps(entries, labels)


def _run_all(
    function: Callable[[AnyJob], CaseRecord],
    jobs: Sequence[AnyJob],
    faulty: Sequence[CaseRecord],
    n_processes: int | None,
    on_case: OnCase,
) -> tuple[CaseRecord, ...]:
    """Run all jobs, tell each case as it ends, and return all records sorted by case."""
    records = list(faulty)
    n_cases = len(jobs) + len(faulty)
    for record in faulty:
        on_case(record, n_cases)
    for outcome in run_jobs(function, jobs, default_processes() if n_processes is None else n_processes):
        record = outcome.result or _failed(outcome)
        on_case(record, n_cases)
        records.append(record)
    return tuple(sorted(records, key=lambda record: record.case_id))


def _failed(outcome: Outcome[AnyJob, CaseRecord]) -> CaseRecord:
    target = outcome.job.target
    notes = (f"{target} is of an earlier run",) if target.exists() else ()
    return CaseRecord(outcome.job.case_id, outcome.reason, notes=notes)


def _with_zip(report: Report, zip_path: Path, dataset: Dataset, scans: Mapping[str, Path] | None) -> Report:
    if report.failed:
        fault = f"{zip_path} was not written: {len(report.failed)} of {len(report.cases)} cases failed"
        return replace(report, zip_fault=fault)
    from nnunet_ext.submission.submit import pack

    files = [report.path.parent / case.output for case in report.cases if case.output]
    try:
        verification = pack(files, zip_path, dataset, scans)
    except (SubmissionError, OSError) as error:
        return replace(report, zip_fault=str(error))
    warnings = report.warnings + tuple(map(str, verification.findings))
    if not scans:
        warnings += ("the zip was not compared with the scans; name their folder with -r",)
    return replace(report, zip_path=zip_path, warnings=warnings)
