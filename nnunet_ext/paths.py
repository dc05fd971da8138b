"""Where nnU-Net keeps things: the folders that its three variables name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
TRAINER_VARIABLE = "nnUNet_extTrainer"


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
