"""The phantom data set on disk, as nnU-Net wants raw data to lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.demo.phantom import LABELS, Volume, phantom
from nnunet_ext.errors import UsageError
from nnunet_ext.files.whole import write_json
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import write_image, write_segmentation
from nnunet_ext.nnunet.folders import FOLDER_VARIABLES
from nnunet_ext.nnunet.model_folder import ModelName, fold_name
from nnunet_ext.nnunet.raw import scan_name

DATASET_ID = 1
DATASET = "Dataset001_CardiacPhantom"
FILE_ENDING = ".nii.gz"
N_TRAINING, N_TEST = 12, 4
FOLDS = (0, 1)  # of the four in splits()


def training_cases() -> list[str]:
    """The names of the cases to train with."""
    return [case_id(number) for number in range(N_TRAINING)]


def cases_to_predict() -> list[str]:
    """The names of the cases to predict."""
    return [case_id(number) for number in range(N_TRAINING, N_TRAINING + N_TEST)]


def case_id(number: int) -> str:
    """The name of one case; the even ones have a right ventricle."""
    return f"heart_{number:03d}"


def write_dataset(folder: Path, on_count: Callable[[int], None] = lambda n_written: None) -> None:
    """Write the phantom data set: the same images each time.

    The test cases' segmentations lie in `labelsTs`, where nnU-Net does not look, to compare with.
    `dataset.json` is written last: a folder that holds it is complete.

    Args:
        folder: the data set's own folder below `nnUNet_raw`.
        on_count: called with the number of cases written so far.
    """
    for number in range(N_TRAINING + N_TEST):
        part = "Tr" if number < N_TRAINING else "Ts"
        scan, segmentation, geometry = phantom(seed=number, with_right_ventricle=number % 2 == 0)
        name = case_id(number)
        _write_scan(scan, geometry, folder / f"images{part}" / scan_name(name, 0, FILE_ENDING))
        write_segmentation(segmentation, geometry, folder / f"labels{part}" / f"{name}{FILE_ENDING}")
        on_count(number + 1)
    write_json(splits(), folder / "splits_final.json")
    write_json(
        {
            "channel_names": {"0": "MRI"},
            "labels": LABELS,
            "numTraining": N_TRAINING,
            "file_ending": FILE_ENDING,
        },
        folder / "dataset.json",
    )


def splits() -> list[dict[str, list[str]]]:
    """Four folds, of which the demo trains `FOLDS`: nine cases to train with, three to validate.

    Every fourth case is in the same fold after a turn by one each time, as every second case has a
    right ventricle: so each part of each fold holds some.
    """
    cases = training_cases()
    parts = [[cases[4 * turn + (fold + turn) % 4] for turn in range(N_TRAINING // 4)] for fold in range(4)]
    return [{"train": [case for case in cases if case not in part], "val": part} for part in parts]


def _write_scan(scan: Volume, geometry: Geometry, path: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(scan.round().astype("int16"))
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    write_image(image, path)


CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres")
PLANS = "nnUNetDemoPlans"
TRAINER = "nnUNetTrainerEarlyStopping"


@dataclass(frozen=True)
class DemoFolder:
    """The demo's folder; what has one is finished as soon as it is there under its name."""

    root: Path

    @property
    def nnunet(self) -> dict[str, Path]:
        """nnU-Net's three folders, by the variable that names each."""
        return {variable: self.root / variable.removeprefix("nnUNet_") for variable in FOLDER_VARIABLES}

    @property
    def dataset(self) -> Path:
        """The raw data set."""
        return self.root / "raw" / DATASET

    @property
    def preprocessed(self) -> Path:
        """The data set's plans and preprocessed cases."""
        return self.root / "preprocessed" / DATASET

    def fold(self, configuration: str, fold: int) -> Path:
        """One training: its checkpoints and validation."""
        model = str(ModelName(TRAINER, PLANS, configuration))
        return self.root / "results" / DATASET / model / fold_name(fold)

    def prediction(self, configuration: str, fold: int) -> Path:
        """One fold's probabilities of the test cases."""
        return self.root / "predictions" / configuration / fold_name(fold)

    def plan(self, name: str) -> Path:
        """The plan of an ensemble; beside `predictions`, as its folders are relative to it."""
        return self.root / f"{name}.yaml"

    def segmentations(self, name: str) -> Path:
        """What the plan of that name gave."""
        return self.root / "segmentations" / name

    def log(self, step: str) -> Path:
        """What the command of a step printed."""
        return self.root / "logs" / f"{step.replace(', ', '_').replace(' ', '_')}.txt"

    @property
    def zip_path(self) -> Path:
        """The submission."""
        return self.root / "submission.zip"

    @property
    def picture(self) -> Path:
        """The overlays."""
        return self.root / "overlays.png"

    def check_free(self) -> None:
        """Refuse a folder of other things.

        Raises:
            UsageError: the folder holds something, but no demo.
        """
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"{self.root} is a file. Choose a folder with -o.")
        if self.root.is_dir() and any(self.root.iterdir()) and not self.dataset.is_dir():
            raise UsageError(f"{self.root} holds other things than a demo. Choose another folder with -o.")
