"""Where nnU-Net keeps things: the folders that its three variables name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import UsageError

FOLDER_VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
TRAINER_VARIABLE = "nnUNet_extTrainer"
ENDINGS = (".nii.gz", ".nrrd", ".mha", ".nii", ".png", ".tif", ".tiff", ".bmp", ".b2nd", ".npz")


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


def case_of_file(file: str) -> str:
    """A case's name from the path of its segmentation, be it one of Windows."""
    name = re.split(r"[\\/]", file)[-1]
    return name.removesuffix(next((end for end in ENDINGS if name.endswith(end)), ""))


def discovery_folder() -> Path:
    """The folder whose one file shows our trainers to nnU-Net."""
    return Path(__file__).resolve().parent / "trainers" / "discovery"


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
