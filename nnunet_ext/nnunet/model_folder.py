"""Folders of trained models, `DatasetXXX_NAME/TRAINER__PLANS__CONFIGURATION/fold_N`, and their files."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nnunet_ext.errors import UsageError, joined_faults
from nnunet_ext.files.names import is_junk
from nnunet_ext.nnunet.dataset_json import Dataset, read_dataset
from nnunet_ext.nnunet.folders import DATASET_NAME, results_folder, subfolders
from nnunet_ext.nnunet.plans import read_plans_content, with_inherited

FoldMean = Literal["probabilities", "logits"]

SEPARATOR = "__"  # between trainer, plans and configuration in the name of a model's folder
FOLD_PREFIX = "fold_"

PLANS_FILE = "plans.json"
DATASET_FILE = "dataset.json"
FINAL_CHECKPOINT = "checkpoint_final.pth"
LATEST_CHECKPOINT = "checkpoint_latest.pth"
BEST_CHECKPOINT = "checkpoint_best.pth"

_NAME_PART = re.compile(r"[\w.+-]+")
_FOLD = re.compile(rf"{FOLD_PREFIX}(\d+|all)")
_LOG = re.compile(r"training_log_(\d+)_(\d+)_(\d+)_(\d+)_(\d+)_(\d+)\.txt")
_CAPTURE_ENDINGS = frozenset({".log", ".out", ".err", ".txt"})


class ModelName(NamedTuple):
    """The three parts of the name of a model's folder; `str` joins them."""

    trainer: str
    plans: str
    configuration: str

    def __str__(self) -> str:
        return SEPARATOR.join(self)

    def train_command(self, dataset: str, fold: str) -> str:
        """nnU-Net's command that trains a fold of this model."""
        return f"nnUNetv2_train {dataset} {self.configuration} {fold} -tr {self.trainer} -p {self.plans}"


def parse_model_name(name: str) -> ModelName | None:
    """The parts of `TRAINER__PLANS__CONFIGURATION`; None of any other name, junk and copies included."""
    parts = name.split(SEPARATOR)
    is_model = len(parts) == 3 and all(map(_NAME_PART.fullmatch, parts)) and not name.startswith((".", "_"))
    return ModelName(*parts) if is_model else None


def fold_name(fold: str | int) -> str:
    """Name of a fold's folder: `fold_0` of 0."""
    return f"{FOLD_PREFIX}{fold}"


def parse_fold(name: str) -> str | None:
    """The fold in the name of its folder: `0` of `fold_0`, `all` of `fold_all`; None of any other name."""
    match = _FOLD.fullmatch(name)
    return match[1] if match else None


def find_fold_folders(model_folder: Path) -> dict[str, Path]:
    """A model's fold folders by fold, sorted by number, `all` last; copies (`fold_2_old`) are left out."""
    found = {fold: path for path in subfolders(model_folder) if (fold := parse_fold(path.name))}
    return {fold: found[fold] for fold in sorted(found, key=_fold_order)}


def _fold_order(fold: str) -> tuple[int, str]:
    return (int(fold) if fold.isdecimal() else 1 << 30, fold)


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained model, and how to predict with it.

    Attributes:
        dataset: number or name of the data set of its training, or the absolute path of the data set's
            results.
        configuration: name of the configuration, such as `3d_fullres`.
        trainer: name of the trainer's class.
        plans: name of the plans.
        folds: folds, in the order in which their outputs are added.
        checkpoint: file name of each fold's checkpoint.
        fold_mean: whether to average the folds' probabilities on the grid of the scan, or their logits on the
            grid of the network, as `nnUNetv2_predict -f 0 1` does.
        mirroring: whether to predict mirrored patches, too, along the axes that the training allowed.
        step_size: step of the sliding window, as a share of the patch.
    """

    dataset: str
    configuration: str
    trainer: str = "nnUNetTrainer"
    plans: str = "nnUNetPlans"
    folds: tuple[str, ...] = ("0", "1", "2", "3", "4")
    checkpoint: str = FINAL_CHECKPOINT
    fold_mean: FoldMean = "probabilities"
    mirroring: bool = True
    step_size: float = 0.5


@dataclass(frozen=True)
class ModelFiles:
    """A trained model all of whose files exist.

    Attributes:
        model: the model.
        folder: folder of its plans.json, dataset.json and folds.
    """

    model: TrainedModel
    folder: Path

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """The checkpoint of each fold."""
        return tuple(self.folder / fold_name(fold) / self.model.checkpoint for fold in self.model.folds)

    def dataset(self) -> Dataset:
        """Read the labels and the file ending of its training.

        Raises:
            DatasetError: its dataset.json is damaged.
        """
        return read_dataset(self.folder / DATASET_FILE)

    def plans(self) -> dict[str, Any]:
        """Read its plans.json.

        Raises:
            DatasetError: it is damaged.
        """
        return read_plans_content(self.folder / PLANS_FILE)

    def previous_stage(self) -> str | None:
        """Configuration whose segmentations a cascade takes as input; None of a model that is no cascade."""
        entries = with_inherited(self.plans()["configurations"], self.model.configuration)
        previous = entries.get("previous_stage")
        return str(previous) if previous else None


def find_model(model: TrainedModel, environment: Mapping[str, str] = os.environ) -> ModelFiles:
    """Find a model's files below the folder that `nnUNet_results` names.

    Raises:
        UsageError: the variable is not set, or a folder or file is not there; all missing files are named.
    """
    name = ModelName(model.trainer, model.plans, model.configuration)
    folder = find_model_folder(model.dataset, name, environment)
    files = ModelFiles(model, folder)
    needed = [folder / PLANS_FILE, folder / DATASET_FILE, *files.checkpoints]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        raise UsageError(joined_faults("A trained model lacks files:", missing))
    return files


def find_model_folder(dataset: str, name: ModelName, environment: Mapping[str, str] = os.environ) -> Path:
    """Find the folder of a data set's model.

    Args:
        dataset: number or name of the data set, or the absolute path of the folder of its results.
        name: of the model.
        environment: the variables that name nnU-Net's folders.

    Raises:
        UsageError: `nnUNet_results` is not set, or there is no such data set or model.
    """
    results = (
        Path(dataset) if Path(dataset).is_absolute() else results_folder(dataset, environment).absolute()
    )
    folder = results / str(name)
    if not folder.is_dir():
        there = [path.name for path in subfolders(results) if parse_model_name(path.name)]
        raise UsageError(f"There is no model {folder}; {results.name} has {', '.join(there) or 'none'}.")
    return folder


@dataclass(frozen=True, kw_only=True)
class FoldFolder:
    """The folder of a fold, with the parts of its path."""

    path: Path
    dataset: str
    trainer: str
    plans: str
    configuration: str
    fold: str

    @property
    def name(self) -> str:
        """`TRAINER__PLANS__CONFIGURATION/fold_N`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def order(self) -> tuple[str, str, str, str, int, str]:
        """Sort key: by data set, model and the fold's number, with `all` last."""
        return self.dataset, self.configuration, self.trainer, self.plans, *_fold_order(self.fold)


def find_folds(root: Path) -> list[FoldFolder]:
    """Find the folds below nnU-Net's results folder, or below the folder of a data set, model or fold.

    Junk of macOS (`._fold_0`), copies such as `fold_2_old` and folders of cross-validations are skipped.

    Raises:
        UsageError: there is no such folder.
    """
    root = root.resolve()
    if not root.is_dir():
        raise UsageError(f"{root} is no folder. Name nnUNet_results, or a data set's folder in it, with -i.")
    fold = parse_fold(root.name)
    if fold and parse_model_name(root.parent.name):
        models = {root.parent: {fold: root}}
    else:
        models = {model: find_fold_folders(model) for model in _models(root)}
    folds = [
        FoldFolder(path=path, dataset=model.parent.name, fold=fold, **name._asdict())
        for model, paths in models.items()
        if (name := parse_model_name(model.name))
        for fold, path in paths.items()
    ]
    return sorted(folds, key=lambda fold: fold.order)


def _models(root: Path) -> Iterator[Path]:
    if parse_model_name(root.name):
        yield root
        return
    for folder in subfolders(root):
        if parse_model_name(folder.name):
            yield folder
        elif DATASET_NAME.fullmatch(folder.name):
            yield from (model for model in subfolders(folder) if parse_model_name(model.name))


def find_logs(fold: Path) -> list[Path]:
    """nnU-Net's logs in a fold, the oldest first, by the dates in their names."""
    logs = ((_LOG.fullmatch(path.name), path) for path in _files(fold))
    dated = [(tuple(map(int, match.groups())), path) for match, path in logs if match]
    return [path for _, path in sorted(dated)]


def log_began(path: Path) -> float | None:
    """When a log of nnU-Net was begun, in seconds since 1970; None where its name has no time."""
    match = _LOG.fullmatch(path.name)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
    except (OverflowError, ValueError):
        return None


def find_captures(fold: Path) -> list[Path]:
    """Other files in a fold that may be the captured output of a console, the oldest first."""
    others = (path for path in _files(fold) if path.suffix in _CAPTURE_ENDINGS)
    return sorted(
        (path for path in others if not path.name.startswith("training_log")),
        key=lambda path: path.stat().st_mtime,
    )


def _files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if not is_junk(entry.name) and entry.is_file()]
    except OSError:
        return []
