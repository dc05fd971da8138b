"""Carries out the repairs of a check's findings, each of which can be undone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.files import write_json
from nnunet_ext.integrity.check import Check, Survey, survey
from nnunet_ext.integrity.findings import CheckReport, Finding
from nnunet_ext.integrity.making import MakeJob, make
from nnunet_ext.integrity.preprocessed import SEGMENTATIONS
from nnunet_ext.integrity.quarantine import Quarantine
from nnunet_ext.integrity.repairs import (
    CopyFile,
    CopyGrid,
    CountCases,
    ForgetCase,
    Preprocess,
    Repair,
    RoundLabels,
    SetAside,
    SetCaseAside,
    describe,
)
from nnunet_ext.workers import Outcome, default_processes, run_jobs

MAX_ROUNDS = 4

OnRepair = Callable[[str], None]


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


def _say_nothing(repair: str) -> None:
    """For callers who want no progress."""


def planned(report: CheckReport, *, raw: bool) -> tuple[Repair, ...]:
    """The repairs of a check's findings, each once, in the order in which they are done.

    Args:
        report: of the check.
        raw: also those that touch raw images.
    """
    cases = {
        f.repair.case_id
        for f in report.findings
        if isinstance(f.repair, SetCaseAside) and (raw or f.severity == "error")
    }
    unique = dict.fromkeys(f.repair for f in report.findings if f.repair and _is_due(f, raw, cases))
    order = (SetAside, SetCaseAside, ForgetCase, CopyGrid, RoundLabels, CopyFile, Preprocess, CountCases)
    return tuple(sorted(unique, key=lambda repair: order.index(type(repair))))


def _is_due(finding: Finding, raw: bool, faulty_cases: set[str]) -> bool:
    """Whether to do a finding's repair; a case that has to be set aside gets no other."""
    repair = finding.repair
    if repair is None or (repair.is_raw and not raw):
        return False
    if isinstance(repair, (CopyGrid, RoundLabels, CopyFile, Preprocess)):
        return finding.case_id not in faulty_cases
    return True


def repair_dataset(
    check: Check, report: CheckReport, *, raw: bool, on_repair: OnRepair = _say_nothing
) -> RepairReport:
    """Repair what can be, and check again; a repair may bring another to light, such as older files.

    Args:
        check: of the data set.
        report: what it found.
        raw: also touch raw images and labels that no program can mend.
        on_repair: called with each repair's words when it was done.

    Raises:
        UsageError: none of the data set's folders is there.
    """
    quarantine = Quarantine(check.folders)
    done: list[str] = []
    failed: dict[Repair, str] = {}
    for _ in range(MAX_ROUNDS):
        repairs = [repair for repair in planned(report, raw=raw) if repair not in failed]
        if not repairs:
            break
        one_round = _Round(survey(check.folders), quarantine, check.n_processes)
        for repair, reason in one_round.carry_out(repairs):
            if reason:
                failed[repair] = f"{describe(repair)}: {reason}"
            else:
                done.append(describe(repair))
                on_repair(done[-1])
        check.forget(quarantine.touched)
        report = check.run()
    quarantine.close()
    journal = quarantine.journal if quarantine.journal.exists() else None
    return RepairReport(tuple(done), tuple(failed.values()), journal, report)


class _Round:
    """Repairs of one check."""

    def __init__(self, found: Survey, quarantine: Quarantine, n_processes: int | None) -> None:
        self._found, self._quarantine = found, quarantine
        self._n_processes = default_processes() if n_processes is None else n_processes

    def carry_out(self, repairs: Sequence[Repair]) -> Iterable[tuple[Repair, str | None]]:
        """Do them all, and yield each with the reason why it was not done, if any."""
        jobs: list[MakeJob] = []
        for number, repair in enumerate(repairs):
            if isinstance(repair, (CopyGrid, RoundLabels, CopyFile, Preprocess)):
                jobs.append(self._job(repair, number))
                continue
            try:
                self._do(repair)
            except OSError as error:
                yield repair, str(error)
            else:
                yield repair, None
        # two makings of one label follow each other: the second works on what the first made
        for kind in (CopyGrid, RoundLabels, CopyFile, Preprocess):
            of_kind = [job for job in jobs if isinstance(job.repair, kind)]
            for outcome in run_jobs(make, of_kind, self._n_processes):
                try:
                    yield outcome.job.repair, self._put(outcome)
                except OSError as error:
                    yield outcome.job.repair, str(error)

    def _do(self, repair: Repair) -> None:
        if isinstance(repair, SetAside):
            self._quarantine.set_aside(repair.path)
        elif isinstance(repair, SetCaseAside):
            self._set_case_aside(repair)
        elif isinstance(repair, ForgetCase):
            self._forget_case(repair.case_id)
        elif isinstance(repair, CountCases):
            self._count_cases(repair.path)

    def _job(self, repair: CopyGrid | RoundLabels | CopyFile | Preprocess, number: int) -> MakeJob:
        beside = repair.plans if isinstance(repair, Preprocess) else repair.path
        staging = self._quarantine.staging(beside, str(number))
        if not isinstance(repair, Preprocess):
            return MakeJob(repair, staging)
        assert self._found.raw and self._found.preprocessed
        case = next(case for case in self._found.raw.training if case.case_id == repair.case_id)
        kinds = {c.configuration: c.kind for c in self._found.preprocessed.configurations}
        copy = repair.plans.parent / "dataset.json"
        return MakeJob(
            repair,
            staging,
            tuple(path for _, path in sorted(case.channels.items())),
            case.label,
            copy if copy.exists() else self._found.raw.folder / "dataset.json",
            kinds.get(repair.configuration) == "npz",
        )

    def _put(self, outcome: Outcome[MakeJob, tuple[Path, ...]]) -> str | None:
        """Move what was made to its place; the reason why not, where it was not made."""
        repair = outcome.job.repair
        if outcome.result is None:
            return (outcome.reason or "").strip().splitlines()[-1]
        if isinstance(repair, Preprocess):
            for path in repair.files:
                self._quarantine.set_aside(path)
            folder = self._folder_of(repair)
            for staged in outcome.result:
                self._quarantine.put(staged, folder / staged.name)
            return None
        # What was made of a header, or of whole numbers in another type, is not older for it.
        keep_time = isinstance(repair, CopyGrid) or (isinstance(repair, RoundLabels) and repair.same_values)
        self._quarantine.put(outcome.result[0], repair.path, keep_time=keep_time)
        return None

    def _folder_of(self, repair: Preprocess) -> Path:
        assert self._found.preprocessed
        return next(
            c.folder
            for c in self._found.preprocessed.configurations
            if (c.plans, c.configuration) == (repair.plans, repair.configuration)
        )

    def _set_case_aside(self, repair: SetCaseAside) -> None:
        assert self._found.raw
        for case in self._found.raw.cases:
            if (case.case_id, case.part) == (repair.case_id, repair.part):
                for path in case.files:
                    self._quarantine.set_aside(path)
        if repair.part == "Tr":
            self._strike_off(repair.case_id)
        if repair.part == "Tr" and self._found.preprocessed:
            self._forget_case(repair.case_id)

    def _strike_off(self, case_id: str) -> None:
        """Take a case out of the list of cases of a dataset.json that has one."""
        assert self._found.raw
        path = self._found.raw.folder / "dataset.json"
        listed = self._found.raw.content.get("dataset")
        if isinstance(listed, dict) and case_id in listed:
            content = json.loads(path.read_text(encoding="utf-8"))
            del content["dataset"][case_id]
            self._rewrite(path, content)

    def _forget_case(self, case_id: str) -> None:
        """Take a case out of what was made of the training cases."""
        found = self._found.preprocessed
        assert found
        for configuration in found.configurations:
            for path in configuration.cases.get(case_id, {}).values():
                self._quarantine.set_aside(path)
        if found.segmentations and case_id in found.segmentations:
            self._quarantine.set_aside(found.folder / SEGMENTATIONS / found.segmentations[case_id].name)
        splits = found.folder / "splits_final.json"
        if any(case_id in split[part] for split in found.splits for part in ("train", "val")):
            content = json.loads(splits.read_text(encoding="utf-8"))
            for split in content:
                split.update({part: [c for c in split[part] if c != case_id] for part in ("train", "val")})
            self._rewrite(splits, content)

    def _count_cases(self, path: Path) -> None:
        """Count anew: other repairs of the same round may have taken cases out."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["numTraining"] = sum(bool(case.channels) for case in survey(self._found.folders).raw.training)  # type: ignore[union-attr]
        self._rewrite(path, content)

    def _rewrite(self, path: Path, content: Any) -> None:
        staged = self._quarantine.staging(path, "json") / path.name
        write_json(content, staged)
        self._quarantine.put(staged, path)
