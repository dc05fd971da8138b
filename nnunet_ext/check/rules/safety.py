"""Files that no repair may touch: those that cannot be read now, and those outside of the data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from nnunet_ext.check.findings import Finding
from nnunet_ext.check.quarantine.own_folders import OwnFolders
from nnunet_ext.check.rules.case import Facts
from nnunet_ext.check.survey import Survey


def check_refusals(found: Survey, facts: Facts) -> Iterator[Finding]:
    """Report files that could not be read now, which no repair touches."""
    refused = {one.path: one.refusal for one in facts.values() if one.refusal}
    case_of = _case_of(found) if refused else {}
    for path, refusal in refused.items():
        yield Finding(
            "error", "unreadable", path, refusal.reason, advice=refusal.advice, case_id=case_of.get(path)
        )


def check_elsewhere(found: Survey) -> Iterator[Finding]:
    """Note the cases whose files dataset.json lists in other folders: they are read, and never moved."""
    if found.raw is None or not isinstance(found.raw.content.get("dataset"), dict):
        return
    own = OwnFolders.of(found.folders)
    names = [c.case_id for c in found.raw.training if any(own.part_of(path) is None for path in c.files)]
    if names:
        seen = f"it lists files outside of the data set for {len(names)} cases, such as {names[0]!r}"
        advice = "They are checked, and no repair moves them."
        yield Finding("note", "elsewhere", found.raw.folder / "dataset.json", seen, advice=advice)


def without_unsafe_repairs(findings: Iterable[Finding], found: Survey, facts: Facts) -> Iterator[Finding]:
    """Drop the repairs that would touch cases with unread files, or files outside of the data set."""
    own, case_of = OwnFolders.of(found.folders), _case_of(found)
    unread = {case_of[path] for path, one in facts.items() if one.refusal and path in case_of}
    is_unknown = found.raw is not None and found.raw.json_fault is not None
    for finding in findings:
        if finding.repair is None:
            yield finding
        elif is_unknown:
            yield _without_repair(finding, "No repair is done while dataset.json cannot be read.")
        elif finding.case_id in unread:
            advice = f"No repair is done until every file of {finding.case_id} can be read."
            yield _without_repair(finding, advice)
        elif outside := next((p for p in finding.repair.touched(found) if own.part_of(p) is None), None):
            advice = (
                f"{outside} lies outside of the data set's folders, where no repair moves anything: mend it "
                "there, or take it out of dataset.json."
            )
            yield _without_repair(finding, advice)
        else:
            yield finding


def _without_repair(finding: Finding, advice: str) -> Finding:
    return replace(finding, repair=None, advice=" ".join(part for part in (finding.advice, advice) if part))


def _case_of(found: Survey) -> dict[Path, str]:
    """The case that each file of a case belongs to."""
    raw = found.raw.cases if found.raw else ()
    case_of = {path: case.case_id for case in raw for path in case.files}
    if found.preprocessed:
        case_of |= {path: case for case, path in (found.preprocessed.segmentations or {}).items()}
        for configuration in found.preprocessed.configurations:
            case_of |= {p: case for case, files in configuration.cases.items() for p in files.values()}
    return case_of
