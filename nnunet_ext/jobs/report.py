"""Records of cases, and the report of a run: what was read, done and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from nnunet_ext.files.whole import write_json
from nnunet_ext.jobs.execution import Part
from nnunet_ext.jobs.pool import Outcome


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes:
        path: the report's file, beside the outputs.
        settings: what was asked for and with which versions.
        cases: one record a case, sorted by name.
        warnings: what a user should know although the run went on.
        zip_path: the submission; None where none was asked for, or where it could not be written.
        zip_fault: why the submission was not written.
        report_fault: why the report's file was not written.
    """

    path: Path
    settings: Mapping[str, Any]
    cases: tuple[CaseRecord, ...]
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
        """Whether every case, the report, and the zip if there was to be one, was written."""
        return not self.failed and self.zip_fault is None and self.report_fault is None

    def begin(self) -> None:
        """Write what is asked for before the first case: a killed run leaves it with `finished` false.

        Raises:
            OSError: it cannot be written.
        """
        self._write(finished=False)

    def written(self) -> Report:
        """Write the report's file; where that fails, the report holds why, and all that was done."""
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


@dataclass(frozen=True)
class CaseRecord:
    """What was done to one case.

    Attributes:
        case_id: the case's name.
        reason: why it failed; None where its segmentation was written.
        output: the segmentation's file name; None where it failed.
        inputs: SHA-256 of each file read, by path.
        voxels_changed: by each step of post-processing, in order.
        notes: what was odd but did no harm.
        elapsed_s: seconds from opening its first file to the written segmentation.
    """

    case_id: str
    reason: str | None = None
    output: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    voxels_changed: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    elapsed_s: float = 0.0


OnCase = Callable[[CaseRecord, int], None]


class OnOneCase(Protocol):
    """A job on one case, whatever it does."""

    @property
    def case_id(self) -> str:
        """The case's name."""

    @property
    def target(self) -> Path:
        """The file to write."""


JobOnCase = TypeVar("JobOnCase", bound=OnOneCase)


def say_nothing(record: CaseRecord, n_cases: int) -> None:
    """No progress."""


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
