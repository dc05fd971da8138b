"""What every repair of a data set has, and what repairs are carried out with.

A repair is a frozen dataclass of plain values: two equal ones are one repair. A new kind of repair is a class
of its own, derived from `DirectRepair` or `WorkerRepair`; nothing else names it but the rule that advises it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from nnunet_ext.check.quarantine.own_folders import is_there
from nnunet_ext.check.quarantine.quarantine import Quarantine
from nnunet_ext.check.survey import Survey
from nnunet_ext.errors import RepairError
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.whole import write_json
from nnunet_ext.nnunet.splits import SPLITS

CaseKind = Literal["raw Tr", "raw Ts", "preprocessed"]


@dataclass(frozen=True)
class KnownCases:
    """The cases of a data set before its first repair, by the files that repairs may move.

    Attributes:
        raw: part (`Tr` or `Ts`) and case of each raw file.
        preprocessed: cases with preprocessed files.
        strangers: preprocessed files that belong to no case by their name, each under that name.
    """

    raw: Mapping[Path, tuple[str, str]]
    preprocessed: frozenset[str]
    strangers: Mapping[Path, str]


class Repair(ABC):
    """A change that `nnunet_ext check --fix` makes to a data set, and that `--undo` takes back.

    Attributes:
        rank: place in the order in which repairs of one check are carried out.
        is_raw: whether the repair touches raw images or labels, which only `--fix_raw` may.
        sets_case_aside: whether the repair takes its case out, so that the case needs no other repair.
    """

    rank: ClassVar[int]
    sets_case_aside: ClassVar[bool] = False
    is_raw: bool

    @property
    @abstractmethod
    def description(self) -> str:
        """What the repair does, in words, beginning with a verb."""

    @abstractmethod
    def touched(self, found: Survey) -> Iterable[Path]:
        """The files that the repair moves or replaces."""

    def cases_aside(self, known: KnownCases) -> Iterable[tuple[CaseKind, str]]:
        """The cases that the repair sets aside; none unless a kind of repair says so."""
        return ()


class Workbench:
    """What one round of repairs is carried out with: the survey of the data set, and its quarantine."""

    def __init__(self, found: Survey, quarantine: Quarantine) -> None:
        self.found, self.quarantine = found, quarantine

    def written(self, path: Path, content: Any) -> tuple[Path, Path]:
        """A new JSON file in the quarantine, with the place that it is to be put in."""
        made = self.quarantine.making_folder(path) / path.name
        write_json(content, made)
        return made, path

    def dataset_json_without(self, case_id: str) -> Iterator[tuple[Path, Path]]:
        """A new dataset.json without the case, where the old one lists the files of its cases."""
        if self.found.raw is None:
            return
        path = self.found.raw.folder / "dataset.json"
        content = read_for_repair(path)
        if isinstance(content, dict) and case_id in (content.get("dataset") or {}):
            del content["dataset"][case_id]
            yield self.written(path, content)

    def splits_without(self, case_id: str) -> Iterator[tuple[Path, Path]]:
        """New splits without the case, where the old ones have it."""
        preprocessed = self.found.preprocessed
        if preprocessed is None or not is_there(preprocessed.folder / SPLITS):
            return
        path = preprocessed.folder / SPLITS
        splits = read_for_repair(path)
        if preprocessed.splits and any(case_id in (*one["train"], *one["val"]) for one in splits):
            for one in splits:
                one |= {part: [case for case in one[part] if case != case_id] for part in ("train", "val")}
            yield self.written(path, splits)


class DirectRepair(Repair):
    """A repair that moves files, or writes small ones, in the main process."""

    @abstractmethod
    def carry_out(self, bench: Workbench) -> None:
        """Do it, in one change of the quarantine."""


@dataclass(frozen=True)
class RawInputs:
    """The raw files that a worker makes new files from.

    Attributes:
        images: of the case, channel by channel.
        label: of the case.
        dataset_json: of the data set.
        as_npz: whether to preprocess into the files of older versions of nnU-Net.
    """

    images: tuple[Path, ...]
    label: Path
    dataset_json: Path
    as_npz: bool


class WorkerRepair(Repair):
    """A repair whose new files are made by a worker process, and then put in their places."""

    @property
    @abstractmethod
    def beside(self) -> Path:
        """A path on whose disk the new files are made."""

    def inputs(self, found: Survey) -> RawInputs | None:
        """The raw files that the worker needs; None where the repair names its own.

        Raises:
            RepairError: they are not there.
        """
        return None

    @abstractmethod
    def make(self, staging: Path, inputs: RawInputs | None) -> None:
        """Make the new files in an empty folder, under the names that they will have; runs in a worker."""

    @abstractmethod
    def put(self, made: Sequence[Path], quarantine: Quarantine) -> None:
        """Move the new files to their places, in one change of the quarantine."""


@dataclass(frozen=True)
class RepairJob:
    """The new files of one repair, for a worker to make in the empty folder `staging`."""

    repair: WorkerRepair
    staging: Path
    inputs: RawInputs | None


def make_files(job: RepairJob) -> tuple[Path, ...]:
    """Make the new files of one repair.

    Returns:
        The new files in the staging folder.

    Raises:
        SegmentationError: a label cannot be read, or holds what is no label, or what was written is not
            what is read back: writers of images report no full disk.
    """
    job.repair.make(job.staging, job.inputs)
    return tuple(sorted(job.staging.iterdir()))


def read_for_repair(path: Path) -> Any:
    """The present content of a JSON file that a repair changes.

    Raises:
        RepairError: it cannot be read.
    """
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise RepairError(f"{path} cannot be read: {error}") from error
