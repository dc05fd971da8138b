"""The coarse segmentations that a data set of crops is made from: what is there, and what makes the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.nnunet.dataset_json import Dataset, read_dataset
from nnunet_ext.nnunet.folders import dataset_folder
from nnunet_ext.nnunet.raw import find_images
from nnunet_ext.nnunet.splits import SPLITS, read_splits

FOLD = re.compile(r"fold_(\d+)$")
PLAN_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class Coarse:
    """Segmentations of training cases by a coarse model.

    Attributes:
        place: the model's folder, or the one that holds them.
        dataset: of their labels.
        files: by case.
        is_model: whether they are those of a cross-validation, each of a fold that did not train on it.
    """

    place: Path
    dataset: Dataset
    files: Mapping[str, Path]
    is_model: bool

    def lacking(self, cases: Iterable[str]) -> dict[str, list[str]]:
        """The cases without a segmentation, by what makes them."""
        missing = [case for case in cases if case not in self.files]
        if not missing:
            return {}
        if not self.is_model:
            return {f"predict them into {self.place}": missing}
        fold_of = _folds(self.place.parent.name)
        by_fold: dict[str, list[str]] = {}
        for case in missing:
            by_fold.setdefault(fold_of.get(case, "FOLD"), []).append(case)
        return {self._command(fold): some for fold, some in sorted(by_fold.items())}

    def _command(self, fold: str) -> str:
        trainer, plans, configuration = self.place.name.split("__")
        is_trained = (self.place / f"fold_{fold}" / "checkpoint_final.pth").is_file()
        command = f"nnUNetv2_train {self.place.parent.name} {configuration} {fold} -tr {trainer} -p {plans}"
        return f"{command} --val" if is_trained else command


def find_coarse(place: Path, source: Dataset, folds: Sequence[str] = ()) -> Coarse:
    """Find coarse segmentations.

    Args:
        place: the folder of a trained model, whose validations are taken, or one of segmentations.
        source: labels of the data set to crop, which segmentations have that no dataset.json lies beside.
        folds: of the model to take; none are all but `all`, which validates what it was trained on.

    Raises:
        UsageError: there is none, or it is neither.
    """
    if place.suffix in PLAN_ENDINGS:
        raise UsageError(
            f"--coarse {place}: training cases need segmentations by folds that were not trained on them. "
            "Fuse the validation folders of its models with `nnunet_ext ensemble`, and name that folder."
        )
    if not place.is_dir():
        raise UsageError(f"--coarse {place} is no folder: name a trained model's, or one of segmentations.")
    if not any(place.glob("fold_*")):
        beside = place / "dataset.json"
        dataset = read_dataset(beside) if beside.is_file() else source
        return Coarse(place, dataset, find_images(place, source.file_ending, scans=False), False)
    if place.name.count("__") != 2:
        raise UsageError(f"--coarse {place} is not named like a model, TRAINER__PLANS__CONFIGURATION.")
    dataset = read_dataset(place / "dataset.json")
    files: dict[str, Path] = {}
    for fold in sorted(place.glob("fold_*")):
        match = FOLD.search(fold.name)
        wanted = fold.name.removeprefix("fold_") in folds if folds else match is not None
        if wanted and _holds_images(fold / "validation", source.file_ending):
            files |= find_images(fold / "validation", source.file_ending, scans=False)
    if not files:
        raise UsageError(
            f"--coarse {place} has no segmentations in fold_*/validation. Let its trainings end, or predict "
            "the validations with nnUNetv2_train … --val."
        )
    return Coarse(place, dataset, files, True)


def model_folder(dataset: str, trainer: str, plans: str, configuration: str) -> Path:
    """The folder of a data set's model below `nnUNet_results`.

    Raises:
        UsageError: there is none.
    """
    base = dataset_folder("nnUNet_results", dataset)
    folder = base / f"{trainer}__{plans}__{configuration}" if base else None
    if folder is None or not folder.is_dir():
        there = sorted(path.name for path in base.iterdir() if path.name.count("__") == 2) if base else []
        raise UsageError(
            f"There is no model {trainer}__{plans}__{configuration} of data set {dataset} below "
            f"the folder nnUNet_results; it has {', '.join(there) or 'none'}."
        )
    return folder


def _holds_images(folder: Path, file_ending: str) -> bool:
    return folder.is_dir() and any(path.name.endswith(file_ending) for path in folder.iterdir())


def _folds(dataset: str) -> dict[str, str]:
    """The fold that validates each case, as far as the splits tell."""
    folder = dataset_folder("nnUNet_preprocessed", dataset)
    if folder is None:
        return {}
    try:
        splits = read_splits(folder / SPLITS)
    except (UsageError, DatasetError):
        return {}
    return {case: str(number) for number, split in enumerate(splits) for case in split["val"]}
