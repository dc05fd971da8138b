"""What a page is made from, and where a data set keeps its cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.monitoring.results import models
from nnunet_ext.monitoring.run import Run
from nnunet_ext.nnunet.dataset_json import Dataset, read_dataset
from nnunet_ext.nnunet.raw import find_images
from nnunet_ext.nnunet.subjects import Subjects
from nnunet_ext.report.scores import Scores, short_names
from nnunet_ext.tuning.pictures import WeightMatrix
from nnunet_ext.tuning.read_report import TuningReport

RAW_VARIABLE, PREPROCESSED_VARIABLE = "nnUNet_raw", "nnUNet_preprocessed"


@dataclass(frozen=True)
class DatasetFolders:
    """Where nnU-Net keeps a data set; None where it is not there."""

    raw: Path | None = None
    preprocessed: Path | None = None

    @classmethod
    def named(cls, dataset: str, environment: Mapping[str, str]) -> DatasetFolders:
        """The folders that nnU-Net's variables name, where they hold the data set."""

        def folder(variable: str) -> Path | None:
            root = environment.get(variable)
            path = Path(root) / dataset if root else None
            return path if path is not None and path.is_dir() else None

        return cls(folder(RAW_VARIABLE), folder(PREPROCESSED_VARIABLE))

    def scans(self, file_ending: str) -> dict[str, Path]:
        """Each training case's scan, of several channels the first."""
        return {} if self.raw is None else _images(self.raw / "imagesTr", file_ending, scans=True)

    def references(self, file_ending: str) -> dict[str, Path]:
        """Each training case's reference segmentation."""
        raw = {} if self.raw is None else _images(self.raw / "labelsTr", file_ending, scans=False)
        if raw or self.preprocessed is None:
            return raw
        return _images(self.preprocessed / "gt_segmentations", file_ending, scans=False)


def _images(folder: Path, file_ending: str, *, scans: bool) -> dict[str, Path]:
    try:
        return find_images(folder, file_ending, scans=scans)
    except UsageError:
        return {}


@dataclass(frozen=True)
class Material:
    """What a page is made from.

    Attributes:
        dataset: its name.
        runs: of this data set, by name.
        scores: the Dice of each model's cases, and of other segmentations.
        folders: where its cases are.
        weights: of an ensemble; None for none.
        tuning: what an ensemble's tuning found; None for none.
        subjects: whose scans the cases are; None where nobody told it.
        about_plan: what is to be known of the two before they are read, a sentence each.
    """

    dataset: str
    runs: tuple[Run, ...]
    scores: tuple[Scores, ...] = ()
    folders: DatasetFolders = DatasetFolders()
    weights: WeightMatrix | None = None
    tuning: TuningReport | None = None
    subjects: Subjects | None = None
    about_plan: tuple[str, ...] = ()

    @cached_property
    def models(self) -> dict[str, list[Run]]:
        """The folds of each model, by its short name."""
        names = short_names(self.runs)
        return {names[model]: some for model, some in models(self.runs).items()}

    @cached_property
    def description(self) -> Dataset | None:
        """The data set's labels and file ending; None where no dataset.json can be read."""
        folders = [
            self.folders.raw,
            self.folders.preprocessed,
            *(run.folder.path.parent for run in self.runs),
        ]
        for folder in filter(None, folders):
            try:
                return read_dataset(folder / "dataset.json")
            except DatasetError:
                continue
        return None
