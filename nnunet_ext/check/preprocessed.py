"""Survey of a data set's preprocessed folder, configuration by configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.check.facts import FileJob, Role
from nnunet_ext.files.documents import read_json_object
from nnunet_ext.nnunet.folders import REFERENCE_COPIES
from nnunet_ext.nnunet.plans import with_inherited
from nnunet_ext.nnunet.raw import QUARANTINE, find_junk
from nnunet_ext.nnunet.splits import SPLITS, Split, read_splits_if_whole

ENDINGS = ("_seg.b2nd", ".b2nd", "_seg.npy", ".npy", ".npz", ".pkl")
NEEDED = {"b2nd": (".b2nd", "_seg.b2nd", ".pkl"), "npz": (".npz", ".pkl")}


@dataclass(frozen=True, kw_only=True)
class Preprocessed:
    """The preprocessed cases of one configuration.

    Attributes:
        folder: folder of the cases.
        plans: a plans file that names the folder.
        configuration: name of the configuration in the plans.
        kind: `b2nd`, or `npz` of older versions of nnU-Net.
        cases: files of each case by their ending, such as `_seg.b2nd`.
        strangers: files that belong to no case of that kind.
    """

    folder: Path
    plans: Path
    configuration: str
    kind: str
    cases: Mapping[str, Mapping[str, Path]]
    strangers: tuple[Path, ...]

    @property
    def needed(self) -> tuple[str, ...]:
        """Endings of the files that each case must have."""
        return NEEDED[self.kind]


@dataclass(frozen=True, kw_only=True)
class PreprocessedDataset:
    """A data set's preprocessed folder.

    Attributes:
        folder: the folder.
        configurations: preprocessed configurations.
        absent: configurations that plans name and that are not preprocessed.
        elsewhere: configurations whose folder is not one for cases of the data set, each with its plans
            file and that folder, which is not looked into.
        segmentations: nnU-Net's copies of the labels, by case; None where there are none.
        json_files: plans, splits and other JSON files.
        junk: files that operating systems and killed processes leave.
        splits: folds of splits_final.json; empty where there is none, or it cannot be read.
        description: content of its copy of dataset.json; empty where there is none.
    """

    folder: Path
    configurations: tuple[Preprocessed, ...]
    absent: tuple[str, ...]
    elsewhere: tuple[tuple[Path, str, str], ...]
    segmentations: Mapping[str, Path] | None
    json_files: tuple[Path, ...]
    junk: tuple[Path, ...]
    splits: tuple[Split, ...]
    description: Mapping[str, Any]


def survey_preprocessed(folder: Path, file_ending: str) -> PreprocessedDataset:
    """Survey a data set's preprocessed folder; only its JSON files are opened.

    Raises:
        OSError: a folder cannot be listed.
    """
    names = (path.name for path in _listed(folder))
    json_files = tuple(folder / n for n in names if n.endswith(".json") and not n.startswith("."))
    junk = tuple(path for path, _ in find_junk(folder, file_ending))
    configurations: dict[Path, Preprocessed] = {}
    absent, elsewhere = [], []
    for plans in json_files:
        for name, entry in _configurations(plans):
            identifier = str(entry["data_identifier"])
            place = folder / identifier
            if not _is_for_cases(place, folder):
                elsewhere.append((plans, name, identifier))
            elif not place.is_dir():
                absent.append(f"{name} of {plans.name}")
            elif place not in configurations:
                configurations[place] = _survey(place, plans, name, set(junk))
    copies = folder / REFERENCE_COPIES
    segmentations = (
        {
            p.name.removesuffix(file_ending): p
            for p in _listed(copies)
            if p.name.endswith(file_ending) and p not in junk
        }
        if copies.is_dir()
        else None
    )
    splits = tuple(read_splits_if_whole(folder / SPLITS))
    return PreprocessedDataset(
        folder=folder,
        configurations=tuple(configurations.values()),
        absent=tuple(absent),
        elsewhere=tuple(elsewhere),
        segmentations=segmentations,
        json_files=json_files,
        junk=junk,
        splits=splits,
        description=read_json_object(folder / "dataset.json"),
    )


def jobs_of(preprocessed: PreprocessedDataset) -> Iterator[FileJob]:
    """Every file to read."""
    for path in preprocessed.json_files:
        yield FileJob(path, "json")
    for path in (preprocessed.segmentations or {}).values():
        yield FileJob(path, "label")
    for configuration in preprocessed.configurations:
        for files in configuration.cases.values():
            for ending, path in files.items():
                role: Role = "properties" if ending == ".pkl" else "array"
                yield FileJob(path, role)


def _configurations(plans: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and entries of a plans file's configurations, with inherited values; none of other files."""
    configurations = read_json_object(plans).get("configurations")
    if not isinstance(configurations, dict):
        return
    for name in configurations:
        entry = with_inherited(configurations, name)
        if "data_identifier" in entry:
            yield name, entry


def _is_for_cases(place: Path, folder: Path) -> bool:
    """Whether a place is below the folder by its name, and not one of the folders for other files."""
    base, named = (Path(os.path.normpath(path)) for path in (folder, place))
    return base in named.parents and named.relative_to(base).parts[0] not in (REFERENCE_COPIES, QUARANTINE)


def _survey(folder: Path, plans: Path, configuration: str, junk: set[Path]) -> Preprocessed:
    files = [p for p in _listed(folder) if p not in junk and p.name != QUARANTINE]
    kind = "npz" if not any(p.suffix == ".b2nd" for p in files) and _any_npz(files) else "b2nd"
    cases: dict[str, dict[str, Path]] = {}
    strangers = []
    for path in files:
        ending = next((e for e in ENDINGS if path.name.endswith(e)), None)
        if ending is None or (kind == "b2nd" and ending == ".npz"):
            strangers.append(path)
        else:
            cases.setdefault(path.name.removesuffix(ending), {})[ending] = path
    return Preprocessed(
        folder=folder,
        plans=plans,
        configuration=configuration,
        kind=kind,
        cases=cases,
        strangers=tuple(strangers),
    )


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())  # raises where a folder cannot be listed; `glob` would not


def _any_npz(files: list[Path]) -> bool:
    return any(p.suffix == ".npz" for p in files)
