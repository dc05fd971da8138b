"""The demo's files: the phantom data set as raw data of nnU-Net, and the folder of the demo."""

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
from nnunet_ext.nnunet.image_files import scan_name
from nnunet_ext.nnunet.model_folder import ModelName, fold_name

DATASET_ID = 1
DATASET = "Dataset001_CardiacPhantom"
FILE_ENDING = ".nii.gz"
N_TRAINING, N_TEST = 12, 4
FOLDS = (0, 1)  # the folds that are trained, of the four in splits()


def training_cases() -> list[str]:
    """The names of the training cases."""
    return [case_id(number) for number in range(N_TRAINING)]


def cases_to_predict() -> list[str]:
    """The names of the test cases."""
    return [case_id(number) for number in range(N_TRAINING, N_TRAINING + N_TEST)]


def case_id(number: int) -> str:
    """The name of one case; cases of even number have a right ventricle."""
    return f"heart_{number:03d}"


def write_dataset(
    folder: Path, on_count: Callable[[int], None] = lambda n_written: None, *, with_splits: bool = True
) -> None:
    """Write the phantom data set; its images are the same each time.

    The references of the test cases lie in `labelsTs`, which nnU-Net does not read. `dataset.json` is written
    last: a folder that holds it is complete.

    Args:
        folder: the data set's folder in `nnUNet_raw`.
        on_count: called with the number of cases written so far.
        with_splits: write the demo's folds, too, which nnU-Net takes over when it plans.
    """
    for number in range(N_TRAINING + N_TEST):
        part = "Tr" if number < N_TRAINING else "Ts"
        scan, segmentation, geometry = phantom(seed=number, with_right_ventricle=number % 2 == 0)
        name = case_id(number)
        _write_scan(scan, geometry, folder / f"images{part}" / scan_name(name, 0, FILE_ENDING))
        write_segmentation(segmentation, geometry, folder / f"labels{part}" / f"{name}{FILE_ENDING}")
        on_count(number + 1)
    if with_splits:
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
    """Four folds of nine training and three validation cases; the demo trains those in `FOLDS`.

    As every second case has a right ventricle, the fold of a case shifts by one after every four cases: so
    training and validation cases of each fold hold some.
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
PREPROCESSED = "preprocessed case "  # before each case's name, on standard output of the step that makes it
TRAINER = "nnUNetTrainerEarlyStopping"


@dataclass(frozen=True)
class DemoFolder:
    """The paths in the demo's folder; a product is complete once it exists under its name."""

    root: Path

    @property
    def nnunet(self) -> dict[str, Path]:
        """nnU-Net's three folders, by their variables."""
        return {variable: self.root / variable.removeprefix("nnUNet_") for variable in FOLDER_VARIABLES}

    @property
    def dataset(self) -> Path:
        """The raw data set."""
        return self.root / "raw" / DATASET

    @property
    def preprocessed(self) -> Path:
        """The folder of the data set's plans and preprocessed cases."""
        return self.root / "preprocessed" / DATASET

    def fold(self, configuration: str, fold: int) -> Path:
        """The folder of one training, with its checkpoints and validation."""
        model = str(ModelName(TRAINER, PLANS, configuration))
        return self.root / "results" / DATASET / model / fold_name(fold)

    def prediction(self, configuration: str, fold: int) -> Path:
        """The folder of one fold's probabilities of the test cases."""
        return self.root / "predictions" / configuration / fold_name(fold)

    def plan(self, name: str) -> Path:
        """The plan of an ensemble, beside `predictions` as its folders are relative to the plan."""
        return self.root / f"{name}.yaml"

    def segmentations(self, name: str) -> Path:
        """The folder of the segmentations that a plan made."""
        return self.root / "segmentations" / name

    def log(self, step: str) -> Path:
        """The log of a step's command."""
        return self.root / "logs" / f"{step.replace(', ', '_').replace(' ', '_')}.txt"

    @property
    def zip_path(self) -> Path:
        """The submission zip."""
        return self.root / "submission.zip"

    @property
    def picture(self) -> Path:
        """The picture of overlays."""
        return self.root / "overlays.png"

    def check_free(self) -> None:
        """Check that the folder is empty, missing, or that of an earlier demo.

        Raises:
            UsageError: the folder holds other files.
        """
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"{self.root} is a file. Choose a folder with -o.")
        if self.root.is_dir() and any(self.root.iterdir()) and not self.dataset.is_dir():
            raise UsageError(
                f"{self.root} holds files of something else than a demo. Choose another folder with -o."
            )
