"""Repairs that move files and cases to the quarantine, or correct a count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nnunet_ext.check.repairs.base import CaseKind, DirectRepair, KnownCases, Workbench, read_for_repair
from nnunet_ext.check.survey import Survey, survey
from nnunet_ext.errors import RepairError


@dataclass(frozen=True)
class SetAside(DirectRepair):
    """Move a file or folder to the quarantine.

    Attributes:
        path: file or folder to move.
        is_raw: whether it is a raw image or label, which only `--fix_raw` may touch.
    """

    rank: ClassVar[int] = 0
    path: Path
    is_raw: bool = False

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"move {self.path} to the quarantine"

    def touched(self, found: Survey) -> Iterable[Path]:
        """The file or folder."""
        return (self.path,)

    def cases_aside(self, known: KnownCases) -> Iterator[tuple[CaseKind, str]]:
        """The case of a raw file; a raw or preprocessed file of no case counts as one."""
        if self.is_raw:
            part, case = known.raw.get(self.path, ("Tr", str(self.path)))
            yield _raw_kind(part), case
        elif self.path in known.strangers:
            yield "preprocessed", known.strangers[self.path]

    def carry_out(self, bench: Workbench) -> None:
        """Move it."""
        bench.quarantine.change(self.description, aside=[self.path])


@dataclass(frozen=True)
class SetCaseAside(DirectRepair):
    """Move all files of a raw case to the quarantine, and take the case out of the splits; `--fix_raw` only.

    Attributes:
        case_id: the case.
        part: `Tr` or `Ts`.
    """

    rank: ClassVar[int] = 1
    sets_case_aside: ClassVar[bool] = True
    case_id: str
    part: str
    is_raw: bool = True

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"move all files of case {self.case_id} to the quarantine"

    def touched(self, found: Survey) -> Iterator[Path]:
        """The raw files, and of a training case the preprocessed ones."""
        yield from found.raw_files.get((self.case_id, self.part), ())
        if self.part == "Tr":
            yield from found.made_of(self.case_id)

    def cases_aside(self, known: KnownCases) -> Iterator[tuple[CaseKind, str]]:
        """The raw case, and the preprocessed one where there is one."""
        yield _raw_kind(self.part), self.case_id
        if self.part == "Tr" and self.case_id in known.preprocessed:
            yield "preprocessed", self.case_id

    def carry_out(self, bench: Workbench) -> None:
        """Move the files, and write dataset.json and splits without the case."""
        put: list[tuple[Path, Path]] = []
        if self.part == "Tr":
            put = [*bench.dataset_json_without(self.case_id), *bench.splits_without(self.case_id)]
        bench.quarantine.change(self.description, aside=self.touched(bench.found), put=put)


@dataclass(frozen=True)
class ForgetCase(DirectRepair):
    """Move the preprocessed files of a case to the quarantine, and take the case out of the splits."""

    rank: ClassVar[int] = 2
    case_id: str
    is_raw: bool = False

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"move what was made of case {self.case_id} to the quarantine"

    def touched(self, found: Survey) -> Iterable[Path]:
        """The preprocessed files, and the copy of the label."""
        return found.made_of(self.case_id)

    def cases_aside(self, known: KnownCases) -> Iterable[tuple[CaseKind, str]]:
        """The preprocessed case."""
        return (("preprocessed", self.case_id),)

    def carry_out(self, bench: Workbench) -> None:
        """Move the files, and write splits without the case."""
        files, put = self.touched(bench.found), bench.splits_without(self.case_id)
        bench.quarantine.change(self.description, aside=files, put=put)


@dataclass(frozen=True)
class CountCases(DirectRepair):
    """Set `numTraining` of a dataset.json to the number of cases that other repairs of the round leave."""

    rank: ClassVar[int] = 8
    path: Path
    is_raw: bool = False

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"set numTraining in {self.path}"

    def touched(self, found: Survey) -> Iterable[Path]:
        """The dataset.json."""
        return (self.path,)

    def carry_out(self, bench: Workbench) -> None:
        """Count the cases anew, and write dataset.json."""
        raw = survey(bench.found.folders).raw
        if raw is None:
            raise RepairError(f"{self.path} has no raw data set beside it, whose cases could be counted.")
        n_cases = sum(bool(case.channels) for case in raw.training)
        content = {**read_for_repair(self.path), "numTraining": n_cases}
        bench.quarantine.change(self.description, put=[bench.written(self.path, content)])


def _raw_kind(part: str) -> CaseKind:
    return "raw Ts" if part == "Ts" else "raw Tr"
