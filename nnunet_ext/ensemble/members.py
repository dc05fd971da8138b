"""The files of probabilities of each case: which members and folders they belong to, and with what share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.ensemble.plan import Member, Plan
from nnunet_ext.files.names import is_junk
from nnunet_ext.probabilities.opening import ENDINGS


@dataclass(frozen=True)
class MemberFile:
    """One member's file of probabilities for one case.

    Attributes:
        member: index of the member in the plan.
        member_name: name of the member.
        path: the file, npz or of the compact store.
        share: the file's share of the member's weight; the shares of a member's files of one case sum to 1.
    """

    member: int
    member_name: str
    path: Path
    share: float

    def __str__(self) -> str:
        return f"{self.member_name} ({self.path})"

    def beside(self, ending: str, case_id: str) -> Path:
        """Return the path of the same case with another ending, such as its properties or segmentation."""
        same = self.path.with_name(self.path.stem + ending)
        return same if same.exists() else self.path.with_name(case_id + ending)


@dataclass(frozen=True)
class Case:
    """One case of an ensemble: the files to fuse, or why it cannot be fused.

    Attributes:
        case_id: the case's name, without any ending.
        files: in the order of the members and their folders.
        fault: why the case cannot be fused; None where it can.
    """

    case_id: str
    files: tuple[MemberFile, ...]
    fault: str | None = None


@dataclass(frozen=True)
class FoundCases:
    """The cases that lie in the folders of a plan.

    Attributes:
        cases: sorted by name.
        junk: files that macOS or Windows left and that were ignored.
    """

    cases: tuple[Case, ...]
    junk: tuple[Path, ...]


def find_member_cases(plan: Plan, file_ending: str, expected: Sequence[str] = ()) -> FoundCases:
    """Find the cases of a plan in the folders of its members.

    A member's folders are either folds that all predicted the same cases, or the validation folders of a
    cross-validation, which have no case in common. A case that one of several folds lacks has a fault.

    Args:
        plan: members and their folders.
        file_ending: file ending of the images; `CASE.nii.gz.npz` is the same case as `CASE.npz`.
        expected: cases that there should be, such as those of the scans.
    """
    junk: list[Path] = []
    tables = [_files_by_folder(member, file_ending, junk) for member in plan.members]
    case_ids = sorted({case_id for table in tables for row in table for case_id in row} | set(expected))
    cases = tuple(_case(case_id, plan.members, tables) for case_id in case_ids)
    return FoundCases(cases, tuple(sorted(set(junk))))


# For each folder of a member: the files of probabilities of each case.
FilesByFolder = list[dict[str, list[Path]]]


def _files_by_folder(member: Member, file_ending: str, junk: list[Path]) -> FilesByFolder:
    table: FilesByFolder = []
    for folder in member.folders:
        row: dict[str, list[Path]] = {}
        for path in sorted(path for ending in ENDINGS for path in folder.glob(f"*{ending}")):
            if is_junk(path.name):
                junk.append(path)
            elif not path.name.startswith("."):
                row.setdefault(path.stem.removesuffix(file_ending), []).append(path)
        table.append(row)
    return table


def _case(case_id: str, members: Sequence[Member], tables: Sequence[FilesByFolder]) -> Case:
    files: list[MemberFile] = []
    faults: list[str] = []
    for index, (member, table) in enumerate(zip(members, tables, strict=True)):
        found = [(folder, row.get(case_id, [])) for folder, row in enumerate(table)]
        doubled = [paths for _, paths in found if len(paths) > 1]
        present = [(folder, paths[0]) for folder, paths in found if paths]
        missing = [str(member.folders[folder]) for folder, paths in found if not paths]
        faults += [f"member {member.name} has it twice: {', '.join(map(str, paths))}" for paths in doubled]
        if not present:
            faults.append(f"member {member.name} has no probabilities of it in {', '.join(missing)}")
        elif missing and _have_common_cases(table):
            faults.append(f"member {member.name} lacks it in {', '.join(missing)}")
        else:
            total = sum(member.folder_weights[folder] for folder, _ in present)
            if total == 0:
                faults.append(f"member {member.name} has it only in folders of weight 0")
                continue
            files += [
                MemberFile(index, member.name, path, member.folder_weights[folder] / total)
                for folder, path in present
            ]
    return Case(case_id, tuple(files), "; ".join(faults) or None)


def _have_common_cases(table: FilesByFolder) -> bool:
    """Return whether folders are folds over the same cases, not validation folders without a common one."""
    return any(count > 1 for count in Counter(case_id for row in table for case_id in row).values())
