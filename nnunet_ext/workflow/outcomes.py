"""Jobs on cases become records of cases, and the records of a run its report and submission."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from nnunet_ext.errors import DatasetError, SubmissionError, UsageError
from nnunet_ext.files import written_whole
from nnunet_ext.labels import Dataset, read_dataset
from nnunet_ext.outputs import check_file, is_zip_of
from nnunet_ext.parts import Part
from nnunet_ext.workers import Outcome, run_jobs, run_jobs_on
from nnunet_ext.workflow.cases import CaseJob, CaseRecord
from nnunet_ext.workflow.record import Report

OnCase = Callable[[CaseRecord, int], None]
Job = TypeVar("Job")
JobOnCase = TypeVar("JobOnCase", bound=CaseJob)
Result = TypeVar("Result")


def say_nothing(record: CaseRecord, n_cases: int) -> None:
    """No progress."""


def run_somewhere(
    function: Callable[[Job], Result], jobs: Sequence[Job], n_processes: int, executor: Executor | None
) -> Iterator[Outcome[Job, Result]]:
    """Run jobs on the executor, or where there is none on worker processes of this machine."""
    if executor is not None:
        return run_jobs_on(executor, function, jobs)
    return run_jobs(function, jobs, n_processes)


def collect(
    outcomes: Iterable[Outcome[JobOnCase, CaseRecord]],
    n_jobs: int,
    faulty: Sequence[CaseRecord],
    on_case: OnCase,
) -> tuple[CaseRecord, ...]:
    """Tell each case as it ends, and return all records sorted by case; `faulty` ones end first."""
    records = list(faulty)
    n_cases = n_jobs + len(faulty)
    for record in faulty:
        on_case(record, n_cases)
    for outcome in outcomes:
        record = outcome.result or _failed(outcome)
        on_case(record, n_cases)
        records.append(record)
    return sorted_by_case(records)


def sorted_by_case(records: Iterable[CaseRecord]) -> tuple[CaseRecord, ...]:
    """In the order of a report."""
    return tuple(sorted(records, key=lambda record: record.case_id))


def _failed(outcome: Outcome[JobOnCase, CaseRecord]) -> CaseRecord:
    target = outcome.job.target
    notes = (f"{target} is of an earlier run",) if os.path.lexists(target) else ()
    return CaseRecord(outcome.job.case_id, outcome.reason, notes=notes)


def report_name(name: str, part: Part | None) -> str:
    """Parts write beside each other: each one's report has a name of its own."""
    return part.named(name) if part else name


def check_no_zip_of_a_part(zip_path: Path | None, part: Part | None) -> None:
    """Refuse to pack some of the cases.

    Raises:
        UsageError: both are given.
    """
    if zip_path is not None and part is not None:
        raise UsageError(
            "--zip and --part exclude each other: one part is no submission. When all parts are done, pack "
            "the folder with `nnunet_ext submit`."
        )


def check_zip(zip_path: Path | None, dataset: Dataset, *, overwrite: bool) -> None:
    """Refuse to replace a file that is no zip of segmentations.

    Raises:
        UsageError: it is none, or nothing can be written there.
    """
    if zip_path is not None:
        check_file(zip_path, is_zip_of([dataset.file_ending]), "a submission", overwrite=overwrite)


def check_dataset_json(dataset_file: Path, output: Path, *, overwrite: bool) -> None:
    """Refuse to write beside a dataset.json of other labels, by which later verbs would read the results.

    Raises:
        UsageError: there is one.
    """
    target = output / "dataset.json"
    if overwrite or not target.exists():
        return
    try:
        there = read_dataset(target).labels
    except DatasetError:
        return
    wanted = read_dataset(dataset_file).labels
    if there != wanted:
        raise UsageError(
            f"{target} has the labels {there.describe()}, but {dataset_file} has {wanted.describe()}, and "
            "later verbs read what is beside them. Choose another folder with -o, or replace it with "
            "--overwrite."
        )


def keep_dataset_json(dataset_file: Path, output: Path, *, overwrite: bool = False) -> None:
    """Copy the dataset.json beside the segmentations, where later verbs and nnU-Net's look for it."""
    target = output / "dataset.json"
    if not target.exists() or (overwrite and not target.samefile(dataset_file)):
        with written_whole(target) as part:
            part.write_bytes(dataset_file.read_bytes())


def with_zip(report: Report, zip_path: Path, dataset: Dataset, scans: Mapping[str, Path] | None) -> Report:
    """Pack all segmentations of a run, and note in its report what became of that."""
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
