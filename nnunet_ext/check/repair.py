"""The run of repairs: which findings to repair, in which order, and how many cases may be set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from nnunet_ext.check.findings import CheckReport, Finding
from nnunet_ext.check.preprocessed import ENDINGS
from nnunet_ext.check.quarantine.quarantine import Quarantine
from nnunet_ext.check.repairs.base import (
    CaseKind,
    DirectRepair,
    KnownCases,
    Repair,
    RepairJob,
    Workbench,
    WorkerRepair,
    make_files,
)
from nnunet_ext.check.run import Check
from nnunet_ext.check.survey import Survey, survey
from nnunet_ext.errors import NnunetExtError, RepairError
from nnunet_ext.jobs.pool import default_processes, run_jobs

MAX_ROUNDS = 4
MOST_ASIDE = 0.5  # of the cases
OnRepair = Callable[[str], None]
OnJournal = Callable[[Path], None]


@dataclass(frozen=True)
class RepairReport:
    """Result of a run of repairs.

    Attributes:
        done: descriptions of the repairs that were done.
        failed: descriptions of the repairs that could not be done, each with its reason.
        journal: journal by which `--undo` takes the repairs back; None where nothing was changed.
        check: report of a check after the repairs.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]
    journal: Path | None
    check: CheckReport


def _say_nothing(what: str | Path) -> None:
    """Default of the callbacks: no progress is shown."""


def planned(report: CheckReport, *, raw: bool) -> tuple[Repair, ...]:
    """The repairs that a check's findings advise, each once, in the order in which they are carried out.

    Args:
        report: report of the check.
        raw: whether to include repairs of raw images and labels.
    """
    cases = {
        f.case_id
        for f in report.findings
        if (f.repair is None and f.severity == "error")
        or (f.repair is not None and f.repair.sets_case_aside and (raw or f.severity == "error"))
    } - {None}
    unique = dict.fromkeys(f.repair for f in report.findings if f.repair and _is_due(f, raw, cases))
    return tuple(sorted(unique, key=lambda repair: repair.rank))


def _is_due(finding: Finding, raw: bool, faulty_cases: set[str | None]) -> bool:
    """Whether to do a finding's repair.

    A case that is set aside, or has an error without a repair, gets no new files.
    """
    repair = finding.repair
    if repair is None or (repair.is_raw and not raw):
        return False
    if isinstance(repair, WorkerRepair):
        return finding.case_id not in faulty_cases
    return True


def repair_dataset(
    check: Check,
    report: CheckReport,
    *,
    raw: bool,
    yes: bool = False,
    on_repair: OnRepair = _say_nothing,
    on_journal: OnJournal = _say_nothing,
) -> RepairReport:
    """Repair a data set, and check it again: a repair may cause new findings, such as outdated files.

    Args:
        check: the check of the data set.
        report: its report.
        raw: whether to set aside raw images and labels that no program can mend.
        yes: whether to go on where more than half of the cases would be set aside.
        on_repair: called with each repair's description when it was done.
        on_journal: called with the journal's path before anything is moved.

    Raises:
        UsageError: none of the data set's folders is there.
        RepairError: more than half of the cases would be set aside, an earlier repair was not ended, or
            nothing can be written to the data set; nothing was moved.
    """
    count = AsideCount(survey(check.folders))
    repairs = planned(report, raw=raw)
    if (too_many := count.too_many(repairs)) and not yes:
        raise RepairError(f"{too_many}. Look at the findings first; --yes repairs all the same.")
    if not repairs:
        return RepairReport((), (), None, report)
    quarantine = _opened(check, on_journal)
    done: list[str] = []
    failed: dict[Repair, str] = {}
    try:
        for _ in range(MAX_ROUNDS):
            if (too_many := count.too_many(repairs)) and not yes:
                failed |= {repair: f"{repair.description}: {too_many} (--yes)" for repair in repairs}
                break
            count.add(repairs)
            report = _one_round(check, quarantine, repairs, done, failed, on_repair)
            repairs = tuple(repair for repair in planned(report, raw=raw) if repair not in failed)
            if not repairs:
                break
    finally:
        is_changed = quarantine.close()
    return RepairReport(
        tuple(done), tuple(failed.values()), quarantine.journal if is_changed else None, report
    )


def carry_out_repairs(
    check: Check,
    repairs: Sequence[Repair],
    *,
    on_repair: OnRepair = _say_nothing,
    on_journal: OnJournal = _say_nothing,
) -> RepairReport:
    """Do the repairs that a person asked for; `--undo` takes them back.

    Args:
        check: the check of the data set, which has run.
        repairs: the repairs, each once.
        on_repair: called with each repair's description when it was done.
        on_journal: called with the journal's path before anything is moved.

    Raises:
        RepairError: an earlier repair was not ended, or nothing can be written to the data set.
    """
    quarantine = _opened(check, on_journal)
    done: list[str] = []
    failed: dict[Repair, str] = {}
    try:
        report = _one_round(check, quarantine, repairs, done, failed, on_repair)
    finally:
        is_changed = quarantine.close()
    return RepairReport(
        tuple(done), tuple(failed.values()), quarantine.journal if is_changed else None, report
    )


def _opened(check: Check, on_journal: OnJournal) -> Quarantine:
    try:
        quarantine = Quarantine(check.folders)
    except OSError as error:
        raise RepairError(f"Nothing was repaired, since nothing can be written: {error}.") from error
    on_journal(quarantine.journal)
    return quarantine


def _one_round(
    check: Check,
    quarantine: Quarantine,
    repairs: Sequence[Repair],
    done: list[str],
    failed: dict[Repair, str],
    on_repair: OnRepair,
) -> CheckReport:
    """Carry out repairs, add each to `done` or `failed`, and check again."""
    bench = Workbench(survey(check.folders), quarantine)
    for repair, reason in _carry_out(bench, repairs, check.n_processes):
        if reason:
            failed[repair] = f"{repair.description}: {reason}"
        else:
            done.append(repair.description)
            on_repair(done[-1])
    check.forget(quarantine.touched)
    return check.run()


def _carry_out(
    bench: Workbench, repairs: Sequence[Repair], n_processes: int | None
) -> Iterable[tuple[Repair, str | None]]:
    """Carry out repairs, and yield each with the reason why it was not done, if any."""
    jobs: list[RepairJob] = []
    for repair in repairs:
        if isinstance(repair, DirectRepair):
            yield repair, _reason(repair.carry_out, bench)
        elif isinstance(repair, WorkerRepair):
            try:
                staging = bench.quarantine.making_folder(repair.beside)
                jobs.append(RepairJob(repair, staging, repair.inputs(bench.found)))
            except (OSError, NnunetExtError) as error:
                yield repair, str(error)
    jobs.sort(key=lambda job: job.repair.rank)
    n_workers = default_processes() if n_processes is None else n_processes
    # One rank after the other: a second repair of the same label works on the file that the first one made.
    for _, of_rank in groupby(jobs, key=lambda job: job.repair.rank):
        for outcome in run_jobs(make_files, list(of_rank), n_workers):
            repair = outcome.job.repair
            if outcome.result is None:
                yield repair, (outcome.reason or "").strip().splitlines()[-1]
            else:
                yield repair, _reason(repair.put, outcome.result, bench.quarantine)


def _reason(function: Callable[..., None], *arguments: Any) -> str | None:
    """Call a function: why it could not do its work, or None where it did."""
    try:
        function(*arguments)
    except (OSError, NnunetExtError) as error:
        return str(error)
    return None


class AsideCount:
    """Counts the cases of a data set that repairs set aside: of training, of test, and preprocessed.

    A wrong entry of dataset.json, or a disk that is not mounted, makes many good cases look wrong at once. A
    file with the ending of cases that belongs to none counts as a case.

    Args:
        found: survey of the data set before its first repair.
    """

    def __init__(self, found: Survey) -> None:
        raw = found.raw.cases if found.raw else ()
        configurations = found.preprocessed.configurations if found.preprocessed else ()
        copies = found.preprocessed.segmentations if found.preprocessed else None
        strangers = (path for c in configurations for path in c.strangers if path.name.endswith(ENDINGS))
        self._known = KnownCases(
            {path: (case.part, case.case_id) for case in raw for path in case.files},
            frozenset((*(copies or ()), *(case for c in configurations for case in c.cases))),
            {path: path.name for path in strangers},
        )
        self._aside: set[tuple[CaseKind, str]] = set()

    def add(self, repairs: Iterable[Repair]) -> None:
        """Count these repairs as done."""
        self._aside |= self._of(repairs)

    def too_many(self, repairs: Iterable[Repair]) -> str | None:
        """How many cases would be set aside in all, in words; None where that is at most half of them."""
        aside = self._aside | self._of(repairs)
        raw = set(self._known.raw.values())
        cases: dict[CaseKind, tuple[str, set[str]]] = {
            "raw Tr": ("training cases", {case for part, case in raw if part == "Tr"}),
            "raw Ts": ("test cases", {case for part, case in raw if part == "Ts"}),
            "preprocessed": (
                "preprocessed cases",
                {*self._known.preprocessed, *self._known.strangers.values()},
            ),
        }
        for kind, (words, known) in cases.items():
            gone = {case for of_kind, case in aside if of_kind == kind}
            every = known | gone
            if len(gone) > MOST_ASIDE * len(every):
                return f"{len(gone)} of {len(every)} {words} would be set aside"
        return None

    def _of(self, repairs: Iterable[Repair]) -> set[tuple[CaseKind, str]]:
        return {case for repair in repairs for case in repair.cases_aside(self._known)}
