"""The check: finds the files of a data set, reads them all, and judges what was read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.integrity.cases import Expected, check_case
from nnunet_ext.integrity.dataset_json import allowed_values, check_dataset_json, check_names
from nnunet_ext.integrity.facts import FileFacts, FileJob, read_facts
from nnunet_ext.integrity.findings import CheckReport, Finding, in_order
from nnunet_ext.integrity.grids import TOLERANCE_MM
from nnunet_ext.integrity.preprocessed import PreprocessedDataset, jobs_of, survey_preprocessed
from nnunet_ext.integrity.preprocessed_faults import check_descriptions, check_preprocessed
from nnunet_ext.integrity.raw import RawDataset, n_channels_of, survey_raw
from nnunet_ext.integrity.results import Results, check_results, survey_results
from nnunet_ext.integrity.whole_set import check_whole_set
from nnunet_ext.paths import DatasetFolders
from nnunet_ext.workers import Outcome, default_processes, run_jobs

OnFile = Callable[[FileJob, int, int], None]


def _say_nothing(job: FileJob, done_bytes: int, all_bytes: int) -> None:
    """For callers who want no progress."""


@dataclass(frozen=True)
class Survey:
    """What lies in a data set's folders; a part that is not there is None."""

    folders: DatasetFolders
    raw: RawDataset | None
    preprocessed: PreprocessedDataset | None
    results: Results | None

    def jobs(self) -> list[FileJob]:
        """Every file that nnU-Net reads, once each."""
        return list(dict.fromkeys(self._jobs()))

    def _jobs(self) -> Iterator[FileJob]:
        for case in self.raw.cases if self.raw else ():
            yield from (FileJob(path, "image") for path in case.channels.values())
            if case.label:
                yield FileJob(case.label, "label")
        if self.preprocessed:
            yield from jobs_of(self.preprocessed)
        if self.results:
            yield from self.results.jobs


def survey(folders: DatasetFolders) -> Survey:
    """Find what lies in a data set's folders, without reading images.

    Raises:
        UsageError: none of its folders is there.
    """
    places = [p for p in (folders.raw, folders.preprocessed, folders.results) if p is not None]
    if not any(place.is_dir() for place in places):
        raise UsageError(
            f"{', '.join(map(str, places)) or folders.name} is no folder. Name that of a data set."
        )
    raw = survey_raw(folders.raw) if folders.raw else None
    ending = raw.file_ending if raw else ".nii.gz"
    preprocessed = survey_preprocessed(folders.preprocessed, ending) if folders.preprocessed else None
    results = survey_results(folders.results, ending) if folders.results else None
    return Survey(folders, raw, preprocessed, results)


class Check:
    """A check of one data set, which reads a file again only when it was changed.

    Args:
        folders: of the data set; the parts that are None are not looked at.
        command: how the check was called; the findings name the command that repairs with it.
        n_processes: workers side by side; 0 is none but this process; None is one a processor.
        tolerance_mm: how far the corners of a label's grid may lie from its image's; never taken for
            more than a tenth of the finest voxel.
        on_file: called with each file when it was read, the bytes read so far and those of all.
    """

    def __init__(
        self,
        folders: DatasetFolders,
        *,
        command: str = "nnunet_ext check",
        n_processes: int | None = None,
        tolerance_mm: float = TOLERANCE_MM,
        on_file: OnFile = _say_nothing,
    ) -> None:
        self.folders, self.n_processes = folders, n_processes
        self._command, self._tolerance_mm, self._on_file = command, tolerance_mm, on_file
        self._facts: dict[Path, FileFacts] = {}

    def run(self) -> CheckReport:
        """Read every byte that nnU-Net will read, and list what is wrong with it.

        Raises:
            UsageError: none of the folders is there.
        """
        started = time.monotonic()
        found = survey(self.folders)
        jobs = found.jobs()
        known = {job.path: self._facts[job.path] for job in jobs if self._is_known(job.path)}
        unread = [job for job in jobs if job.path not in known]
        self._facts = known | read_all(unread, self.n_processes, self._on_file)
        findings = in_order(judge(found, self._facts, self._tolerance_mm))
        n_bytes = sum(facts.n_bytes for facts in self._facts.values())
        findings = tuple(_with_command(finding, self._command) for finding in findings)
        return CheckReport(findings, len(jobs), n_bytes, time.monotonic() - started)

    def forget(self, paths: Iterable[Path]) -> None:
        """Read these files again the next time, whatever their times say."""
        for path in paths:
            self._facts.pop(path, None)

    def _is_known(self, path: Path) -> bool:
        facts = self._facts.get(path)
        if facts is None or not path.exists():
            return False
        status = path.stat()
        return (facts.n_bytes, facts.modified_ns) == (status.st_size, status.st_mtime_ns)


def read_all(
    jobs: Sequence[FileJob], n_processes: int | None = None, on_file: OnFile = _say_nothing
) -> dict[Path, FileFacts]:
    """Facts of every file, large ones first so that no worker is left with one at the end."""
    sizes = {job: _size(job.path) for job in jobs}
    ordered = sorted(jobs, key=lambda job: -sizes[job])
    done, total = 0, sum(sizes.values())
    facts = {}
    n = default_processes() if n_processes is None else n_processes
    for outcome in run_jobs(read_facts, ordered, n):
        facts[outcome.job.path] = outcome.result or _unread(outcome)
        done += sizes[outcome.job]
        on_file(outcome.job, done, total)
    return facts


def judge(
    found: Survey, facts: dict[Path, FileFacts], tolerance_mm: float = TOLERANCE_MM
) -> Iterator[Finding]:
    """All findings, in the order of looking; nothing is read."""
    content = found.raw.content if found.raw else found.preprocessed.description if found.preprocessed else {}
    expected = Expected(n_channels_of(content), allowed_values(content), tolerance_mm)
    raw_findings = list(_judge_raw(found.raw, facts, expected)) if found.raw else []
    yield from raw_findings
    faulty = {finding.case_id for finding in raw_findings if finding.severity == "error"}
    if found.preprocessed:
        if found.raw:
            yield from check_descriptions(found.preprocessed, found.raw)
        cases = {case.case_id: case for case in found.raw.training if case.channels} if found.raw else None
        for finding in check_preprocessed(found.preprocessed, cases, facts, expected):
            if finding.kind != "stale" or finding.case_id not in faulty:  # nobody shall make it of that
                yield finding
    if found.results:
        yield from check_results(found.results, facts)


def _judge_raw(raw: RawDataset, facts: dict[Path, FileFacts], expected: Expected) -> Iterator[Finding]:
    yield from check_dataset_json(raw)
    yield from check_names(raw)
    for case in raw.cases:
        yield from check_case(case, facts, expected)
    yield from check_whole_set(raw, facts)


def _with_command(finding: Finding, command: str) -> Finding:
    if finding.repair is None:
        return finding
    return replace(finding, command=f"{command} {'--fix_raw' if finding.repair.is_raw else '--fix'}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unread(outcome: Outcome[FileJob, FileFacts]) -> FileFacts:
    """A file that the system refuses, or that took its reader down."""
    reason = (outcome.reason or "").strip().splitlines()[-1]
    return FileFacts(outcome.job.path, _size(outcome.job.path), 0, fault=reason)
