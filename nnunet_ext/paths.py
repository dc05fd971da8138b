"""Where nnU-Net keeps things: the folders that its three variables name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
TRAINER_VARIABLE = "nnUNet_extTrainer"


def dataset_folder(variable: str, dataset: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """A data set's folder below the one that a variable names; None where there is none.

    Args:
        variable: one of nnU-Net's three.
        dataset: its number or name, as nnU-Net's `-d` takes them.
        environment: where the variable stands.
    """
    base = environment.get(variable)
    if not base or not Path(base).is_dir():
        return None
    pattern = f"Dataset{int(dataset):03}_*" if dataset.isdecimal() else dataset
    return next((path for path in sorted(Path(base).glob(pattern)) if path.is_dir()), None)


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
