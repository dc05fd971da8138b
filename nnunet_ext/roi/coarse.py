"""Find the coarse segmentations that boxes are drawn around, and name the commands that make missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.dataset_json import Dataset, read_dataset
from nnunet_ext.nnunet.folders import dataset_folders
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.nnunet.model_folder import (
    DATASET_FILE,
    FINAL_CHECKPOINT,
    ModelName,
    find_fold_folders,
    fold_name,
    parse_model_name,
)
from nnunet_ext.nnunet.splits import SPLITS, read_splits_if_whole

PLAN_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class Coarse:
    """Segmentations of training cases by a coarse model.

    Attributes:
        place: the folder of the model or of the segmentations.
        dataset: their labels and file ending.
        files: the segmentations by case.
        model: the trained model whose folds validated the cases; None for segmentations of a plain folder.
    """

    place: Path
    dataset: Dataset
    files: Mapping[str, Path]
    model: ModelName | None

    def lacking(self, cases: Iterable[str]) -> dict[str, list[str]]:
        """Return the cases without a segmentation, by the command or step that makes it."""
        missing = [case for case in cases if case not in self.files]
        if not missing:
            return {}
        if self.model is None:
            return {f"predict them into {self.place}": missing}
        fold_of = _folds(self.place.parent.name)
        by_fold: dict[str, list[str]] = {}
        for case in missing:
            by_fold.setdefault(fold_of.get(case, "FOLD"), []).append(case)
        return {self._command(self.model, fold): some for fold, some in sorted(by_fold.items())}

    def _command(self, model: ModelName, fold: str) -> str:
        is_trained = (self.place / fold_name(fold) / FINAL_CHECKPOINT).is_file()
        command = model.train_command(self.place.parent.name, fold)
        return f"{command} --val" if is_trained else command


def find_coarse(place: Path, source: Dataset, folds: Sequence[str] = ()) -> Coarse:
    """Find coarse segmentations.

    Args:
        place: the folder of a trained model, whose validations are taken, or a folder of segmentations.
        source: labels of the data set to crop, taken for segmentations without a dataset.json beside them.
        folds: the model's folds to take; none are all but `all`, which validates its own training cases.

    Raises:
        UsageError: there are no segmentations, or the folder is neither.
    """
    if place.suffix in PLAN_ENDINGS:
        raise UsageError(
            f"--coarse {place}: training cases need segmentations by folds that were not trained on them. "
            "Fuse the validation folders of its models with `nnunet_ext ensemble`, and name that folder."
        )
    if not place.is_dir():
        raise UsageError(f"--coarse {place} is no folder: name a trained model's, or one of segmentations.")
    of_folds = find_fold_folders(place)
    if not of_folds:
        beside = place / DATASET_FILE
        dataset = read_dataset(beside) if beside.is_file() else source
        return Coarse(place, dataset, find_images(place, source.file_ending, scans=False), None)
    model = parse_model_name(place.name)
    if model is None:
        raise UsageError(f"--coarse {place} is not named like a model, TRAINER__PLANS__CONFIGURATION.")
    dataset = read_dataset(place / DATASET_FILE)
    files: dict[str, Path] = {}
    for fold, folder in of_folds.items():
        wanted = fold in folds if folds else fold.isdecimal()
        if wanted and _holds_images(folder / "validation", source.file_ending):
            files |= find_images(folder / "validation", source.file_ending, scans=False)
    if not files:
        raise UsageError(
            f"--coarse {place} has no segmentations in fold_*/validation. Let its trainings end, or predict "
            "the validations with nnUNetv2_train … --val."
        )
    return Coarse(place, dataset, files, model)


def _holds_images(folder: Path, file_ending: str) -> bool:
    return folder.is_dir() and any(path.name.endswith(file_ending) for path in folder.iterdir())


def _folds(dataset: str) -> dict[str, str]:
    """Return the fold that validates each case, for the cases in the splits."""
    folder = dataset_folders(dataset).preprocessed
    splits = read_splits_if_whole(folder / SPLITS) if folder else []
    return {case: str(number) for number, split in enumerate(splits) for case in split["val"]}
