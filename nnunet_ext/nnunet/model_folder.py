"""Folders of trained models, `DatasetXXX_NAME/TRAINER__PLANS__CONFIGURATION/fold_N`, and their files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_ext.errors import DatasetError, UsageError, joined_faults
from nnunet_ext.files.names import is_junk
from nnunet_ext.nnunet.dataset_json import Dataset, read_dataset
from nnunet_ext.nnunet.folders import DATASET, subfolders

FoldMean = Literal["probabilities", "logits"]


@dataclass(frozen=True)
class TrainedModel:
    """A model, and how to predict with it.

    Attributes:
        dataset: number or name of the data set it was trained on, or the folder of its results.
        configuration: such as `3d_fullres`.
        trainer: name of the trainer's class.
        plans: identifier of the plans.
        folds: in the order in which their outputs are added.
        checkpoint: name of each fold's file.
        fold_mean: whether the folds' probabilities are averaged, each on the scan's grid, or their
            logits on the network's, as `nnUNetv2_predict -f 0 1` does.
        mirroring: along the axes that the training allowed.
        step_size: of the sliding window, as a share of the patch.
    """

    dataset: str
    configuration: str
    trainer: str = "nnUNetTrainer"
    plans: str = "nnUNetPlans"
    folds: tuple[str, ...] = ("0", "1", "2", "3", "4")
    checkpoint: str = "checkpoint_final.pth"
    fold_mean: FoldMean = "probabilities"
    mirroring: bool = True
    step_size: float = 0.5


@dataclass(frozen=True)
class ModelFiles:
    """A model whose files are all there.

    Attributes:
        model: what it is.
        folder: that holds its plans.json, dataset.json and folds.
    """

    model: TrainedModel
    folder: Path

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """One file a fold."""
        return tuple(self.folder / f"fold_{fold}" / self.model.checkpoint for fold in self.model.folds)

    def dataset(self) -> Dataset:
        """Labels and file ending it was trained with.

        Raises:
            DatasetError: its dataset.json is damaged.
        """
        return read_dataset(self.folder / "dataset.json")

    def plans(self) -> dict[str, Any]:
        """Content of its plans.json.

        Raises:
            DatasetError: it cannot be read as JSON.
        """
        return read_plans_content(self.folder / "plans.json")

    def previous_stage(self) -> str | None:
        """Name of the configuration whose segmentations a cascade begins with; None without a cascade."""
        configurations = self.plans().get("configurations", {})
        name, seen = self.model.configuration, set[str]()
        while name in configurations and name not in seen:
            seen.add(name)
            configuration = configurations[name]
            if configuration.get("previous_stage"):
                return str(configuration["previous_stage"])
            name = str(configuration.get("inherits_from"))
        return None


def read_plans_content(path: Path) -> dict[str, Any]:
    """All that a plans file says, once its entries are known to be of nnU-Net's types.

    Raises:
        DatasetError: it is missing, damaged, or holds no plans.
    """
    from nnunet_ext.nnunet.forms import read_plans_json  # pydantic, only where a file is read

    try:
        return read_plans_json(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read now: {error.strerror or error}.") from error
    except ValueError as error:
        raise DatasetError(f"{path} holds no plans as nnU-Net needs them: {error}.") from error


def find_model(model: TrainedModel, environment: Mapping[str, str] = os.environ) -> ModelFiles:
    """The model's files below the folder that `nnUNet_results` names.

    Raises:
        UsageError: the variable is not set, or a folder or file is not there; says all that are missing.
    """
    results = environment.get("nnUNet_results", "").strip()
    if not results and not Path(model.dataset).is_absolute():
        raise UsageError("nnUNet_results is not set: it names the folder that holds the trained models.")
    folder = _dataset_folder(Path(results).absolute(), model.dataset) / (
        f"{model.trainer}__{model.plans}__{model.configuration}"
    )
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.iterdir() if path.name.count("__") == 2)
        raise UsageError(
            f"There is no model {folder}; {folder.parent.name} has {', '.join(there) or 'none'}."
        )
    files = ModelFiles(model, folder)
    needed = [folder / "plans.json", folder / "dataset.json", *files.checkpoints]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        raise UsageError(joined_faults("A trained model lacks files:", missing))
    return files


def _dataset_folder(results: Path, dataset: str) -> Path:
    if not dataset.isdecimal():
        found = [results / dataset] if (results / dataset).is_dir() else []
    else:
        found = [path for path in sorted(results.glob(f"Dataset{int(dataset):03d}_*")) if path.is_dir()]
    if len(found) != 1:
        there = f"several data sets {dataset}: {', '.join(path.name for path in found)}"
        raise UsageError(
            f"{results} holds {there if found else f'no data set {dataset}'}. "
            "Name the right folder, as in `d: Dataset001_Name`."
        )
    return found[0]


MODEL = re.compile(r"([^_.]\w*?)__(\w[\w.-]*?)__(\w[\w.-]*)")
FOLD = re.compile(r"fold_(\d+|all)")
LOG = re.compile(r"training_log_(\d+)_(\d+)_(\d+)_(\d+)_(\d+)_(\d+)\.txt")
CAPTURE_ENDINGS = frozenset({".log", ".out", ".err", ".txt"})


@dataclass(frozen=True)
class FoldFolder:
    """A fold of a model, and where it lies."""

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
        """What to sort by: folds by their number, `all` behind them."""
        number = int(self.fold) if self.fold.isdecimal() else 1 << 30
        return self.dataset, self.configuration, self.trainer, self.plans, number, self.fold


def find_folds(root: Path) -> list[FoldFolder]:
    """Find the folds below nnU-Net's results, or below the folder of one data set, model or fold.

    What macOS leaves (`._fold_0`), copies such as `fold_2_old` and folders of cross-validations are
    passed over.

    Raises:
        UsageError: there is no such folder.
    """
    root = root.resolve()
    if not root.is_dir():
        raise UsageError(f"{root} is no folder. Name nnUNet_results, or a data set's folder in it, with -i.")
    if FOLD.fullmatch(root.name) and MODEL.fullmatch(root.parent.name):
        return [_fold(root)]
    folds = (
        _fold(path) for model in _models(root) for path in subfolders(model) if FOLD.fullmatch(path.name)
    )
    return sorted(folds, key=lambda fold: fold.order)


def _models(root: Path) -> Iterator[Path]:
    if MODEL.fullmatch(root.name):
        yield root
        return
    for folder in subfolders(root):
        if MODEL.fullmatch(folder.name):
            yield folder
        elif DATASET.fullmatch(folder.name):
            yield from (model for model in subfolders(folder) if MODEL.fullmatch(model.name))


def _fold(path: Path) -> FoldFolder:
    trainer, plans, configuration = MODEL.fullmatch(path.parent.name).groups()  # type: ignore[union-attr]
    return FoldFolder(
        path, path.parent.parent.name, trainer, plans, configuration, path.name.removeprefix("fold_")
    )


def find_logs(fold: Path) -> list[Path]:
    """nnU-Net's logs in a fold, the oldest first: by their names, whose months and days have no zeros."""
    found = [(tuple(map(int, match.groups())), path) for path, match in _matches(fold)]
    return [path for _, path in sorted(found)]


def _matches(fold: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in _files(fold):
        match = LOG.fullmatch(path.name)
        if match:
            yield path, match


def find_captures(fold: Path) -> list[Path]:
    """What else lies in a fold and may be a console's output, the oldest first."""
    others = (path for path in _files(fold) if path.suffix in CAPTURE_ENDINGS)
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
