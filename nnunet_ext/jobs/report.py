"""The report of a run: one record per case, settings, warnings, and what was not written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from nnunet_ext.files.whole import write_json
from nnunet_ext.jobs.execution import Execution
from nnunet_ext.jobs.pool import Outcome


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """What was done to one case.

    Attributes:
        case_id: the case's name.
        reason: why the case failed; None where its segmentation was written.
        output: file name of the segmentation; None where the case failed.
        inputs: SHA-256 of each file that was read, by path.
        voxels_changed: voxels that each step of post-processing changed, in the order of the steps.
        notes: what was unusual but did no harm.
        elapsed_s: seconds from opening the first file to the written segmentation.
    """

    case_id: str
    reason: str | None = None
    output: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    voxels_changed: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    elapsed_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of a run over cases.

    Attributes:
        path: the report's file, beside the outputs.
        settings: the options of the run and the versions of the software.
        cases: one record per case, sorted by name.
        warnings: what the user should know although the run went on.
        zip_path: the submission; None where none was asked for, or where it could not be written.
        zip_fault: why the submission was not written.
        report_fault: why the report's file was not written.
    """

    path: Path
    settings: Mapping[str, Any]
    cases: tuple[CaseRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    zip_path: Path | None = None
    zip_fault: str | None = None
    report_fault: str | None = None

    @property
    def failed(self) -> tuple[CaseRecord, ...]:
        """The cases without a segmentation."""
        return tuple(case for case in self.cases if case.reason is not None)

    @property
    def ok(self) -> bool:
        """Whether all cases, the report, and the zip if one was asked for, were written."""
        return not self.failed and self.zip_fault is None and self.report_fault is None

    def begin(self) -> None:
        """Write the report before the first case, with `finished` false, which a killed run leaves behind.

        Raises:
            OSError: it cannot be written.
        """
        self._write(finished=False)

    def written(self) -> Report:
        """Write the report's file; return the report, which says why where its file cannot be written."""
        try:
            self._write(finished=True)
        except OSError as error:
            return replace(self, report_fault=f"{self.path} was not written: {error.strerror or error}")
        return self

    def _write(self, *, finished: bool) -> None:
        content = {
            **self.settings,
            "finished": finished,
            "warnings": self.warnings,
            "zip": str(self.zip_path) if self.zip_path else None,
            "zip_fault": self.zip_fault,
            "cases": [asdict(case) for case in self.cases],
        }
        write_json(content, self.path)


class WritingJob(Protocol):
    """A job that writes one file of one case."""

    @property
    def case_id(self) -> str:
        """The case's name."""

    @property
    def target(self) -> Path:
        """The file to write."""


WritingJobT = TypeVar("WritingJobT", bound=WritingJob)


def collect(
    outcomes: Iterable[Outcome[WritingJobT, CaseRecord]],
    n_jobs: int,
    faulty: Sequence[CaseRecord],
    execution: Execution,
) -> tuple[CaseRecord, ...]:
    """Gather the records of a run's cases, sorted by case, and tell each case as it ends.

    Args:
        outcomes: outcomes of the jobs, in the order in which they end.
        n_jobs: number of outcomes to come.
        faulty: records of cases that failed before any job was run; they are told first.
        execution: the execution whose `on_case` is called.
    """
    n_cases = n_jobs + len(faulty)
    for record in faulty:
        execution.on_case(record.case_id, record.reason, n_cases)
    found = [outcome.result or _failed_record(outcome) for outcome in execution.told(outcomes, n_cases)]
    return sorted_by_case([*faulty, *found])


def sorted_by_case(records: Iterable[CaseRecord]) -> tuple[CaseRecord, ...]:
    """Sort records by case, the order of a report."""
    return tuple(sorted(records, key=lambda record: record.case_id))


def _failed_record(outcome: Outcome[WritingJobT, CaseRecord]) -> CaseRecord:
    target = outcome.job.target
    notes = (f"{target} is of an earlier run",) if os.path.lexists(target) else ()
    return CaseRecord(case_id=outcome.job.case_id, reason=outcome.reason, notes=notes)
