"""Carries out the repairs of a check's findings, each of which can be undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from nnunet_ext.check.findings import CheckReport, Finding
from nnunet_ext.check.quarantine.own_folders import is_there
from nnunet_ext.check.quarantine.quarantine import Quarantine
from nnunet_ext.check.repair.making import MakeJob, make
from nnunet_ext.check.repair.share import Share
from nnunet_ext.check.repairs import (
    CopyFile,
    CopyGrid,
    CountCases,
    ForgetCase,
    Making,
    Preprocess,
    Repair,
    RoundLabels,
    SetAside,
    SetCaseAside,
    describe,
)
from nnunet_ext.check.run import Check
from nnunet_ext.check.survey import Survey, survey
from nnunet_ext.errors import NnunetExtError, RepairError
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.whole import write_json
from nnunet_ext.jobs.pool import default_processes, run_jobs
from nnunet_ext.nnunet.splits import SPLITS

MAX_ROUNDS = 4
OnRepair = Callable[[str], None]
OnJournal = Callable[[Path], None]


@dataclass(frozen=True)
class RepairReport:
    """What repairing did.

    Attributes:
        done: the repairs, in words.
        failed: those that could not be done, each with its reason.
        journal: to undo them with; None where nothing was done.
        check: what a check finds afterwards.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]
    journal: Path | None
    check: CheckReport


def _say_nothing(what: str | Path) -> None:
    """For callers who want no progress."""


def planned(report: CheckReport, *, raw: bool) -> tuple[Repair, ...]:
    """The repairs of a check's findings, each once, in the order in which they are done.

    Args:
        report: of the check.
        raw: also those that touch raw images.
    """
    cases = {
        f.case_id
        for f in report.findings
        if (isinstance(f.repair, SetCaseAside) and (raw or f.severity == "error"))
        or (f.repair is None and f.severity == "error")
    } - {None}
    unique = dict.fromkeys(f.repair for f in report.findings if f.repair and _is_due(f, raw, cases))
    order = (SetAside, SetCaseAside, ForgetCase, CopyGrid, RoundLabels, CopyFile, Preprocess, CountCases)
    return tuple(sorted(unique, key=lambda repair: order.index(type(repair))))


def _is_due(finding: Finding, raw: bool, faulty_cases: set[str | None]) -> bool:
    """Whether to do a finding's repair; a case to set aside, or that nothing mends, gets no other."""
    repair = finding.repair
    if repair is None or (repair.is_raw and not raw):
        return False
    if isinstance(repair, Making):
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
    """Repair what can be, and check again; a repair may bring another to light, such as older files.

    Args:
        check: of the data set.
        report: what it found.
        raw: also touch raw images and labels that no program can mend.
        yes: also where more than half of the cases would be set aside.
        on_repair: called with each repair's words when it was done.
        on_journal: called with the journal's path before anything is moved.

    Raises:
        UsageError: none of the data set's folders is there.
        RepairError: more than half of the cases would be set aside, an earlier repair was not ended, or
            nothing can be written to the data set; nothing was moved.
    """
    share = Share(survey(check.folders))
    repairs = planned(report, raw=raw)
    if (too_many := share.too_many(repairs)) and not yes:
        raise RepairError(f"{too_many}. Look at the findings first; --yes repairs all the same.")
    if not repairs:
        return RepairReport((), (), None, report)
    quarantine = _opened(check, on_journal)
    done: list[str] = []
    failed: dict[Repair, str] = {}
    try:
        for _ in range(MAX_ROUNDS):
            if (too_many := share.too_many(repairs)) and not yes:
                failed |= {repair: f"{describe(repair)}: {too_many} (--yes)" for repair in repairs}
                break
            share.count(repairs)
            report = _one_round(check, quarantine, repairs, done, failed, on_repair)
            repairs = tuple(repair for repair in planned(report, raw=raw) if repair not in failed)
            if not repairs:
                break
    finally:
        is_changed = quarantine.close()
    return RepairReport(
        tuple(done), tuple(failed.values()), quarantine.journal if is_changed else None, report
    )


def repair_as_told(
    check: Check,
    repairs: Sequence[Repair],
    *,
    on_repair: OnRepair = _say_nothing,
    on_journal: OnJournal = _say_nothing,
) -> RepairReport:
    """Do repairs that a person asked for, and not what a check advises; `--undo` takes them back.

    Args:
        check: of the data set; it has run.
        repairs: each once.
        on_repair: called with each repair's words when it was done.
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
    """Do repairs, add them to those done or failed, and check again."""
    for repair, reason in _Round(survey(check.folders), quarantine, check.n_processes).carry_out(repairs):
        if reason:
            failed[repair] = f"{describe(repair)}: {reason}"
        else:
            done.append(describe(repair))
            on_repair(done[-1])
    check.forget(quarantine.touched)
    return check.run()


class _Round:
    """Repairs of one check."""

    def __init__(self, found: Survey, quarantine: Quarantine, n_processes: int | None) -> None:
        self._found, self._quarantine = found, quarantine
        self._n_processes = default_processes() if n_processes is None else n_processes

    def carry_out(self, repairs: Sequence[Repair]) -> Iterable[tuple[Repair, str | None]]:
        """Do them all, and yield each with the reason why it was not done, if any."""
        jobs: list[MakeJob] = []
        for repair in repairs:
            if isinstance(repair, Making):
                try:
                    jobs.append(self._job(repair))
                except (OSError, NnunetExtError) as error:
                    yield repair, str(error)
            else:
                yield repair, _reason(self._do, repair)
        # two makings of one label follow each other: the second works on what the first made
        for kind in get_args(Making):
            of_kind = [job for job in jobs if isinstance(job.repair, kind)]
            for outcome in run_jobs(make, of_kind, self._n_processes):
                if outcome.result is None:
                    yield outcome.job.repair, (outcome.reason or "").strip().splitlines()[-1]
                else:
                    yield outcome.job.repair, _reason(self._put, outcome.job.repair, outcome.result)

    def _do(self, repair: Repair) -> None:
        words, change = describe(repair), self._quarantine.change
        if isinstance(repair, SetAside):
            change(words, aside=[repair.path])
        elif isinstance(repair, SetCaseAside):
            assert self._found.raw
            wanted = (repair.case_id, repair.part)
            files = [p for c in self._found.raw.cases if (c.case_id, c.part) == wanted for p in c.files]
            if repair.part == "Ts":
                change(words, aside=files)
            else:
                made = [*self._struck_off(repair.case_id), *self._unsplit(repair.case_id)]
                change(words, aside=[*files, *self._found.made_of(repair.case_id)], put=made)
        elif isinstance(repair, ForgetCase):
            change(words, aside=self._found.made_of(repair.case_id), put=self._unsplit(repair.case_id))
        elif isinstance(repair, CountCases):
            change(words, put=[self._recounted(repair.path)])

    def _job(self, repair: Making) -> MakeJob:
        beside = repair.folder / repair.case_id if isinstance(repair, Preprocess) else repair.path
        staging = self._quarantine.making_folder(beside)
        if not isinstance(repair, Preprocess):
            return MakeJob(repair, staging)
        assert self._found.raw and self._found.preprocessed
        case = next(case for case in self._found.raw.training if case.case_id == repair.case_id)
        kinds = {c.folder: c.kind for c in self._found.preprocessed.configurations}
        copy = repair.plans.parent / "dataset.json"
        return MakeJob(
            repair,
            staging,
            tuple(path for _, path in sorted(case.channels.items())),
            case.label,
            copy if copy.exists() else self._found.raw.folder / "dataset.json",
            kinds.get(repair.folder) == "npz",
        )

    def _put(self, repair: Making, made: Sequence[Path]) -> None:
        """Move what was made to its place."""
        if isinstance(repair, Preprocess):
            put = [(path, repair.folder / path.name) for path in made]
            self._quarantine.change(describe(repair), aside=repair.files, put=put)
            return
        # What was made of a header, or of whole numbers in another type, is not older for it.
        if isinstance(repair, CopyGrid) or (isinstance(repair, RoundLabels) and repair.same_values):
            old = repair.path.stat()
            os.utime(made[0], ns=(old.st_atime_ns, old.st_mtime_ns))
        self._quarantine.change(describe(repair), put=[(made[0], repair.path)])

    def _struck_off(self, case_id: str) -> Iterable[tuple[Path, Path]]:
        """A dataset.json without the case, where it lists its cases' files itself."""
        assert self._found.raw
        path = self._found.raw.folder / "dataset.json"
        content = _read_json(path)
        if isinstance(content, dict) and case_id in (content.get("dataset") or {}):
            del content["dataset"][case_id]
            yield self._written(path, content)

    def _unsplit(self, case_id: str) -> Iterable[tuple[Path, Path]]:
        """Splits without the case, where they have it."""
        if self._found.preprocessed is None:
            return
        path = self._found.preprocessed.folder / SPLITS
        if not is_there(path):
            return
        splits = _read_json(path)
        if self._found.preprocessed.splits and any(case_id in (*s["train"], *s["val"]) for s in splits):
            for split in splits:
                split |= {part: [c for c in split[part] if c != case_id] for part in ("train", "val")}
            yield self._written(path, splits)

    def _recounted(self, path: Path) -> tuple[Path, Path]:
        """Count anew: other repairs of the same round may have taken cases out."""
        raw = survey(self._found.folders).raw
        assert raw
        return self._written(
            path, {**_read_json(path), "numTraining": sum(bool(case.channels) for case in raw.training)}
        )

    def _written(self, path: Path, content: Any) -> tuple[Path, Path]:
        """A new JSON file, with the place where it belongs."""
        made = self._quarantine.making_folder(path) / path.name
        write_json(content, made)
        return made, path


def _reason(function: Callable[..., None], *arguments: Any) -> str | None:
    """Call a function: why it could not do its work, or None where it did."""
    try:
        function(*arguments)
    except (OSError, NnunetExtError) as error:
        return str(error)
    return None


def _read_json(path: Path) -> Any:
    """What a file holds now.

    Raises:
        RepairError: it cannot be read.
    """
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise RepairError(f"{path} cannot be read: {error}") from error
