"""nnU-Net's three folders and the data sets in them: the one place that knows what `-d ID` means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.files.names import is_junk

FOLDER_VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
TRAINER_VARIABLE = "nnUNet_extTrainer"


def dataset_folder(variable: str, dataset: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """A data set's folder below the one that a variable names; None where there is none.

    Args:
        variable: one of nnU-Net's three.
        dataset: its number or name, as nnU-Net's `-d` takes them.
        environment: where the variable stands.

    Raises:
        UsageError: several data sets there have that number.
    """
    base = environment.get(variable)
    if not base or not Path(base).is_dir():
        return None
    found = datasets_meant(dataset, _folder_names(Path(base)))
    return Path(base) / found[0] if found else None


def datasets_meant(dataset: str | int, names: Iterable[str]) -> list[str]:
    """The names that a data set's number or name means: one, or none.

    Raises:
        UsageError: several have that number.
    """
    asked = str(dataset)
    prefix = f"Dataset{int(asked):03d}_" if asked.isdecimal() else None
    found = sorted(
        {name for name in names if name == asked or (prefix is not None and name.startswith(prefix))}
    )
    if len(found) > 1:
        raise UsageError(f"-d {asked}: {' and '.join(found)} share that number. Name one of them in full.")
    return found


def _folder_names(base: Path) -> list[str]:
    return [entry.name for entry in base.iterdir() if entry.is_dir()] if base.is_dir() else []


def discovery_folder() -> Path:
    """The folder whose one file shows our trainers to nnU-Net."""
    return Path(__file__).resolve().parents[1] / "trainers" / "discovery"


def trainer_folders(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The folders that `nnUNet_extTrainer` names, in order."""
    return [part for part in environment.get(TRAINER_VARIABLE, "").split(os.pathsep) if part.strip()]


def with_discovery(environment: Mapping[str, str] = os.environ) -> str:
    """Value for `nnUNet_extTrainer` that names our folder beside whatever it names already, and once."""
    folders = trainer_folders(environment)
    ours = str(discovery_folder())
    is_there = any(same_folder(folder, ours) for folder in folders)
    return os.pathsep.join(folders if is_there else [*folders, ours])


def same_folder(one: str | Path, other: str | Path) -> bool:
    """Whether two paths name one folder, whatever links, closing slashes or Windows' upper case say."""
    first, second = (os.path.normcase(os.path.realpath(path)) for path in (one, other))
    return first == second


@dataclass(frozen=True)
class DatasetFolders:
    """Where the parts of one data set lie; a part that nobody made is None.

    Attributes:
        name: `Dataset004_Hippocampus`.
        raw: its images and labels.
        preprocessed: its plans and preprocessed cases.
        results: its trainings.
    """

    name: str
    raw: Path | None
    preprocessed: Path | None
    results: Path | None


def find_dataset(dataset: str | int, environment: Mapping[str, str] = os.environ) -> DatasetFolders:
    """Find a data set below nnU-Net's three folders by its number or name.

    Args:
        dataset: `4` or `Dataset004_Hippocampus`.
        environment: the variables that name the folders.

    Raises:
        UsageError: no folder holds it, or two data sets have that number.
    """
    bases = [Path(environment[name]) if environment.get(name) else None for name in FOLDER_VARIABLES]
    found = datasets_meant(dataset, (name for base in bases if base for name in _folder_names(base)))
    if not found:
        shown = ", ".join(
            f"{name}={base or 'not set'}" for name, base in zip(FOLDER_VARIABLES, bases, strict=True)
        )
        raise UsageError(
            f"-d {dataset}: no data set of that name or number in {shown}. Name one that is there."
        )
    parts = (base / found[0] if base and (base / found[0]).is_dir() else None for base in bases)
    return DatasetFolders(found[0], *parts)


RESULTS_VARIABLE = "nnUNet_results"
DATASET = re.compile(r"Dataset(\d{3,})_.+")


def subfolders(parent: Path) -> Iterator[Path]:
    """Folders in `parent`; none where it cannot be looked into."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if not is_junk(entry.name) and entry.is_dir()]
    except OSError:
        return
    yield from (parent / name for name in sorted(names))


def results_folder(dataset: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that `nnUNet_results` names, or that of one data set in it.

    Args:
        dataset: its number or name as `4`, `004` or `Dataset004_Hippocampus`; None for all.
        environment: the variables.

    Raises:
        UsageError: the variable is not set, names no folder, or the data set has none in it.
    """
    named = environment.get(RESULTS_VARIABLE)
    if not named:
        raise UsageError(f"{RESULTS_VARIABLE} is not set. Set it, or name the folder with -i.")
    root = Path(named)
    if not root.is_dir():
        raise UsageError(f"{RESULTS_VARIABLE} names {root}, which is no folder.")
    if dataset is None:
        return root
    known = [folder for folder in subfolders(root) if DATASET.fullmatch(folder.name)]
    found = datasets_meant(dataset, (folder.name for folder in known))
    if not found:
        names = ", ".join(folder.name for folder in known) or "none"
        raise UsageError(f"-d {dataset}: {root} has no such data set; it has {names}.")
    return root / found[0]


def is_dataset(asked: str, name: str) -> bool:
    """Whether a number or name means the data set of this name."""
    match = DATASET.fullmatch(name)
    return asked == name or (match is not None and asked.isdecimal() and int(asked) == int(match[1]))
