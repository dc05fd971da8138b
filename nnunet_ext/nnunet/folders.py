"""nnU-Net's three folders and the data sets in them: the one place that knows what `-d ID` means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.files.names import is_junk

RAW_VARIABLE = "nnUNet_raw"
PREPROCESSED_VARIABLE = "nnUNet_preprocessed"
RESULTS_VARIABLE = "nnUNet_results"
FOLDER_VARIABLES = (RAW_VARIABLE, PREPROCESSED_VARIABLE, RESULTS_VARIABLE)

TRAINER_VARIABLE = "nnUNet_extTrainer"

DATASET_NAME = re.compile(r"Dataset(\d{3,})_(.+)")

REFERENCE_COPIES = "gt_segmentations"  # nnU-Net's copies of the reference labels, in the preprocessed folder


@dataclass(frozen=True)
class DatasetFolders:
    """The folders of one data set; a folder that does not exist is None.

    Attributes:
        name: `Dataset004_Hippocampus`.
        raw: folder of its images and labels.
        preprocessed: folder of its plans and preprocessed cases.
        results: folder of its trained models.
    """

    name: str
    raw: Path | None = None
    preprocessed: Path | None = None
    results: Path | None = None

    @property
    def references(self) -> Path | None:
        """Folder of the reference segmentations: nnU-Net's copies, or else the raw labels."""
        copies = self.preprocessed / REFERENCE_COPIES if self.preprocessed else None
        labels = self.raw / "labelsTr" if self.raw else None
        return next((folder for folder in (copies, labels) if folder and folder.is_dir()), None)


def find_dataset(dataset: str | int, environment: Mapping[str, str] = os.environ) -> DatasetFolders:
    """Find a data set below nnU-Net's three folders by its number or name.

    Args:
        dataset: `4`, `004` or `Dataset004_Hippocampus`, as nnU-Net's `-d` takes them.
        environment: the variables that name nnU-Net's folders.

    Raises:
        UsageError: no folder holds the data set, or several data sets have that number.
    """
    names = dataset_names(environment)
    found = datasets_meant(dataset, names)
    if not found:
        shown = ", ".join(f"{name}={environment.get(name) or 'not set'}" for name in FOLDER_VARIABLES)
        there = ", ".join(sorted(filter(DATASET_NAME.fullmatch, names))) or "none"
        raise UsageError(f"-d {dataset}: no data set of that name or number in {shown}; there are {there}.")
    return dataset_folders(found[0], environment)


def dataset_folders(name: str, environment: Mapping[str, str] = os.environ) -> DatasetFolders:
    """The existing folders of the data set of this exact name; all are None where there are none."""
    bases = (environment.get(variable) for variable in FOLDER_VARIABLES)
    folders = (Path(base) / name if base else None for base in bases)
    return DatasetFolders(name, *(folder if folder and folder.is_dir() else None for folder in folders))


def dataset_names(environment: Mapping[str, str] = os.environ) -> set[str]:
    """Names of all folders below nnU-Net's three folders."""
    bases = [Path(environment[name]) for name in FOLDER_VARIABLES if environment.get(name)]
    return {entry.name for base in bases if base.is_dir() for entry in base.iterdir() if entry.is_dir()}


def datasets_meant(dataset: str | int, names: Iterable[str]) -> list[str]:
    """The name among `names` that a data set's number or name means, in a list; empty where there is none.

    Raises:
        UsageError: several names have that number.
    """
    found = sorted({name for name in names if is_dataset(dataset, name)})
    if len(found) > 1:
        raise UsageError(f"-d {dataset}: {' and '.join(found)} share that number. Name one of them in full.")
    return found


def is_dataset(asked: str | int, name: str) -> bool:
    """Whether a data set's number or name means the data set of this name."""
    text = str(asked)
    return name == text or (text.isdecimal() and name.startswith(f"Dataset{int(text):03d}_"))


def results_folder(dataset: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that `nnUNet_results` names, or the folder of one data set in it.

    Args:
        dataset: number or name of the data set; None for the folder of all.
        environment: the variables that name nnU-Net's folders.

    Raises:
        UsageError: `nnUNet_results` is not set or names no folder, or the data set has no results in it.
    """
    named = environment.get(RESULTS_VARIABLE)
    if not named:
        raise UsageError(f"{RESULTS_VARIABLE} is not set. Set it, or name the folder with -i.")
    root = Path(named)
    if not root.is_dir():
        hint = "" if root.exists() else " yet: the first training makes it"
        raise UsageError(f"{RESULTS_VARIABLE} names {root}, which is no folder{hint}.")
    if dataset is None:
        return root
    found = find_dataset(dataset, environment)
    if found.results is None:
        known = [folder.name for folder in subfolders(root) if DATASET_NAME.fullmatch(folder.name)]
        raise UsageError(f"-d {dataset}: {root} has no {found.name}; it has {', '.join(known) or 'none'}.")
    return found.results


def subfolders(parent: Path) -> Iterator[Path]:
    """Folders in `parent`, sorted and without junk; none where `parent` cannot be listed."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if not is_junk(entry.name) and entry.is_dir()]
    except OSError:
        return
    yield from (parent / name for name in sorted(names))


def discovery_folder() -> Path:
    """The folder whose one file shows our trainers to nnU-Net."""
    return Path(__file__).resolve().parents[1] / "trainers" / "discovery"


def trainer_folders(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The folders that `nnUNet_extTrainer` names, in order."""
    return [part for part in environment.get(TRAINER_VARIABLE, "").split(os.pathsep) if part.strip()]


def with_discovery(environment: Mapping[str, str] = os.environ) -> str:
    """Value for `nnUNet_extTrainer`: the folders it names already, and our discovery folder once."""
    folders = trainer_folders(environment)
    ours = str(discovery_folder())
    is_there = any(same_folder(folder, ours) for folder in folders)
    return os.pathsep.join(folders if is_there else [*folders, ours])


def same_folder(one: str | Path, other: str | Path) -> bool:
    """Whether two paths name one folder, with links followed, and on Windows in upper or lower case."""
    first, second = (os.path.normcase(os.path.realpath(path)) for path in (one, other))
    return first == second
