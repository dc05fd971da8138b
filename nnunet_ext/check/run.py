"""The check of a data set: finds its files, reads all of them, and lists what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_ext.check.facts import FileFacts, FileJob, Refusal, read_facts
from nnunet_ext.check.findings import CheckReport, Finding, in_order
from nnunet_ext.check.rules.case import Expected, check_case
from nnunet_ext.check.rules.dataset_json import allowed_values, check_dataset_file, check_names
from nnunet_ext.check.rules.grids import TOLERANCE_MM
from nnunet_ext.check.rules.preprocessed import check_descriptions, check_preprocessed
from nnunet_ext.check.rules.results import check_results
from nnunet_ext.check.rules.safety import check_elsewhere, check_refusals, without_unsafe_repairs
from nnunet_ext.check.rules.whole_set import check_whole_set
from nnunet_ext.check.survey import Survey, survey
from nnunet_ext.errors import UsageError
from nnunet_ext.jobs.pool import Outcome, default_processes, run_jobs
from nnunet_ext.nnunet.folders import DatasetFolders, find_dataset
from nnunet_ext.nnunet.raw import RawDataset, n_channels_of

OnFile = Callable[[FileJob, int, int], None]


def _say_nothing(job: FileJob, done_bytes: int, all_bytes: int) -> None:
    """Default of `on_file`: no progress is shown."""


class Check:
    """A check of one data set, which may run again and then reads only files that have changed.

    Args:
        folders: folders of the data set; those that are None are not checked.
        command: command of the check, by which findings name the command that repairs them.
        n_processes: number of worker processes; 0 is none but this process, None one a processor.
        tolerance_mm: largest distance between the corners of a label's grid and its image's; at most a
            tenth of the finest voxel is taken.
        on_file: called with each file once it was read, with the bytes read so far and the bytes of all
            files.
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
        """Read every byte that nnU-Net will read, and list what is wrong.

        Raises:
            UsageError: none of the folders is there.
            DatasetError: one cannot be listed.
        """
        started = time.monotonic()
        found = survey(self.folders)
        jobs = found.jobs()
        known = {job.path: self._facts[job.path] for job in jobs if self._is_known(job.path)}
        unread = [job for job in jobs if job.path not in known]
        self._facts = known | read_all(unread, self.n_processes, self._on_file)
        judged = find_faults(found, self._facts, self._tolerance_mm)
        findings = in_order(without_unsafe_repairs(judged, found, self._facts))
        n_bytes = sum(facts.n_bytes for facts in self._facts.values())
        findings = tuple(_with_command(finding, self._command) for finding in findings)
        return CheckReport(findings, len(jobs), n_bytes, time.monotonic() - started)

    @property
    def facts(self) -> Mapping[Path, FileFacts]:
        """Facts of each file, from the last run."""
        return self._facts

    def forget(self, paths: Iterable[Path]) -> None:
        """Read these files again in the next run, even if their times and sizes are the same."""
        for path in paths:
            self._facts.pop(path, None)

    def _is_known(self, path: Path) -> bool:
        facts = self._facts.get(path)
        if facts is None or facts.refusal:
            return False
        try:
            status = path.stat()
        except OSError:
            return False
        return (facts.n_bytes, facts.modified_ns) == (status.st_size, status.st_mtime_ns)


def read_all(
    jobs: Sequence[FileJob], n_processes: int | None = None, on_file: OnFile = _say_nothing
) -> dict[Path, FileFacts]:
    """Read facts of every file, large files first, so that no worker is left with one at the end."""
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


def find_faults(
    found: Survey, facts: dict[Path, FileFacts], tolerance_mm: float = TOLERANCE_MM
) -> Iterator[Finding]:
    """Findings from the facts of all files; nothing is read."""
    content = found.raw.content if found.raw else found.preprocessed.description if found.preprocessed else {}
    expected = Expected(n_channels_of(content), allowed_values(content), tolerance_mm)
    yield from check_refusals(found, facts)
    raw_findings = list(_find_raw_faults(found.raw, facts, expected)) if found.raw else []
    yield from raw_findings
    yield from check_elsewhere(found)
    faulty = {finding.case_id for finding in raw_findings if finding.severity == "error"}
    if found.preprocessed:
        if found.raw:
            yield from check_descriptions(found.preprocessed, found.raw)
        is_known = found.raw is not None and not found.raw.json_fault  # otherwise cases are not known
        cases = {c.case_id: c for c in found.raw.training if c.channels} if found.raw and is_known else None
        for finding in check_preprocessed(found.preprocessed, cases, facts, expected):
            # A faulty raw case is not to be preprocessed again.
            if finding.kind != "stale" or finding.case_id not in faulty:
                yield finding
    if found.results:
        yield from check_results(found.results, facts)


def _find_raw_faults(raw: RawDataset, facts: dict[Path, FileFacts], expected: Expected) -> Iterator[Finding]:
    yield from check_dataset_file(raw)
    yield from check_names(raw)
    for case in raw.cases:
        yield from check_case(case, facts, expected)
    yield from check_whole_set(raw, facts)


def _with_command(finding: Finding, command: str) -> Finding:
    if finding.repair is None:
        return replace(finding, command=f"{command} {finding.command}") if finding.command else finding
    return replace(finding, command=f"{command} {'--fix_raw' if finding.repair.is_raw else '--fix'}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unread(outcome: Outcome[FileJob, FileFacts]) -> FileFacts:
    """Facts of a file whose reader died."""
    reason = ((outcome.reason or "").strip().splitlines() or ["for an unknown reason"])[-1]
    return FileFacts(
        path=outcome.job.path,
        n_bytes=_size(outcome.job.path),
        modified_ns=0,
        refusal=Refusal.of_reader(reason),
    )


def run_check(
    dataset: str | int | Path,
    *,
    n_processes: int | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    on_file: OnFile = _say_nothing,
) -> CheckReport:
    """Check a data set: read every byte that nnU-Net will read, and list what is wrong; nothing is changed.

    Args:
        dataset: number or name of a data set, whose raw, preprocessed and results folders are checked, or
            the folder of a raw data set anywhere.
        n_processes: processes to read with; 0 reads in this one, None takes one for each processor.
        tolerance_mm: how far the corners of a label's grid may lie from its image's; never taken for more
            than a tenth of the finest voxel.
        on_file: called after each file with the file, the bytes read so far, and the bytes of all files.

    Raises:
        UsageError: there is no such data set or folder.
        DatasetError: a folder cannot be listed.
    """
    folders = find_checked_folders(dataset)
    return Check(folders, n_processes=n_processes, tolerance_mm=tolerance_mm, on_file=on_file).run()


def find_checked_folders(dataset: str | int | Path) -> DatasetFolders:
    """The folders of a data set to check, by its number or name, or as the folder of a raw data set.

    Raises:
        UsageError: there is no such data set or folder.
    """
    if not isinstance(dataset, Path):
        return find_dataset(dataset)
    if not dataset.is_dir():
        raise UsageError(f"{dataset} is no folder. Name that of a raw data set.")
    return DatasetFolders(dataset.name, dataset, None, None)
