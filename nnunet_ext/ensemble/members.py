"""Which files of which members make up each case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.ensemble.plan import Member, Plan
from nnunet_ext.files.names import is_junk
from nnunet_ext.probabilities.opening import ENDINGS


@dataclass(frozen=True)
class Source:
    """One member's file for one case.

    Attributes:
        member: index of the member in the plan.
        path: the file of probabilities, npz or of the compact store.
        share: of the member's weight that this file has; a case's files of one member sum to 1.
    """

    member: int
    path: Path
    share: float

    def beside(self, ending: str, case_id: str) -> Path:
        """The file of the same case with another ending: properties, segmentation."""
        same = self.path.with_name(self.path.stem + ending)
        return same if same.exists() else self.path.with_name(case_id + ending)


@dataclass(frozen=True)
class Case:
    """One case: its files, or why it cannot be fused.

    Attributes:
        case_id: the case's name, without any ending.
        sources: in the order of the members and their folders.
        fault: why the case cannot be fused; None where it can.
    """

    case_id: str
    sources: tuple[Source, ...]
    fault: str | None = None


@dataclass(frozen=True)
class Found:
    """What lies in the folders of a plan.

    Attributes:
        cases: sorted by name.
        junk: files that macOS or Windows left, which were passed over.
    """

    cases: tuple[Case, ...]
    junk: tuple[Path, ...]


def find_cases(plan: Plan, file_ending: str, expected: Sequence[str] = ()) -> Found:
    """Find the cases of a plan.

    A member's folders are either folds that all predicted the same cases, or the validation folders
    of a cross-validation that share none; a case that one fold of the first kind lacks is a fault.

    Args:
        plan: members and their folders.
        file_ending: of the data set's images; `CASE.nii.gz.npz` is the same case as `CASE.npz`.
        expected: cases that there should be, such as those of the scans.
    """
    junk: list[Path] = []
    tables = [_member_table(member, file_ending, junk) for member in plan.members]
    case_ids = sorted({case_id for table in tables for row in table for case_id in row} | set(expected))
    cases = tuple(_case(case_id, plan.members, tables) for case_id in case_ids)
    return Found(cases, tuple(sorted(set(junk))))


MemberTable = list[dict[str, list[Path]]]


def _member_table(member: Member, file_ending: str, junk: list[Path]) -> MemberTable:
    """For each folder of a member, the files of probabilities of each case."""
    table: MemberTable = []
    for folder in member.folders:
        row: dict[str, list[Path]] = {}
        for path in sorted(path for ending in ENDINGS for path in folder.glob(f"*{ending}")):
            if is_junk(path.name):
                junk.append(path)
            elif not path.name.startswith("."):
                row.setdefault(path.stem.removesuffix(file_ending), []).append(path)
        table.append(row)
    return table


def _case(case_id: str, members: Sequence[Member], tables: Sequence[MemberTable]) -> Case:
    sources: list[Source] = []
    faults: list[str] = []
    for index, (member, table) in enumerate(zip(members, tables, strict=True)):
        found = [(folder, row.get(case_id, [])) for folder, row in enumerate(table)]
        doubled = [paths for _, paths in found if len(paths) > 1]
        present = [(folder, paths[0]) for folder, paths in found if paths]
        missing = [str(member.folders[folder]) for folder, paths in found if not paths]
        faults += [f"member {member.name} has it twice: {', '.join(map(str, paths))}" for paths in doubled]
        if not present:
            faults.append(f"member {member.name} has no probabilities of it in {', '.join(missing)}")
        elif missing and _is_folds(table):
            faults.append(f"member {member.name} lacks it in {', '.join(missing)}")
        else:
            total = sum(member.folder_weights[folder] for folder, _ in present)
            if total == 0:
                faults.append(f"member {member.name} has it only in folders of weight 0")
                continue
            sources += [
                Source(index, path, member.folder_weights[folder] / total) for folder, path in present
            ]
    return Case(case_id, tuple(sources), "; ".join(faults) or None)


def _is_folds(table: MemberTable) -> bool:
    """Whether folders are folds over the same cases, not validation folders that share none."""
    return any(count > 1 for count in Counter(case_id for row in table for case_id in row).values())
