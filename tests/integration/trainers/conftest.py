"""A data set of four tiny cases, planned and preprocessed by nnU-Net itself, and trainings on it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm
from workers import made_once

# nnU-Net reads this as it is imported.
os.environ.setdefault("nnUNet_def_n_proc", "1")

DATASET = "Dataset901_Tiny"
DATASET_ID = 901
CONFIGURATION = "2d"
CASES = [f"tiny_{i:03d}" for i in range(4)]
LABELS = {"background": 0, "organ": 1}
LOGGER = "nnunetv2.training.logging.nnunet_logger.MetaLogger"
SPACING_MM = (1.5, 0.9, 2.5)  # x, y, z


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = [name for name in ("torch", "nnunetv2") if not _importable(name)]
    for item in items:
        if missing and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"{' and '.join(missing)} cannot be imported"))


def _importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def _write_raw(folder: Path) -> None:
    import SimpleITK as sitk

    random = np.random.default_rng(11)
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    for case in CASES:
        segmentation = np.zeros((4, 24, 20), np.uint8)
        y, x = random.integers(3, 9, 2)
        segmentation[1:, y : y + 9, x : x + 8] = 1
        scan = random.normal(0, 1, segmentation.shape) + 3 * segmentation
        for array, name in (
            (scan.astype(np.float32), f"imagesTr/{case}_0000"),
            (segmentation, f"labelsTr/{case}"),
        ):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(SPACING_MM)
            sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    description = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))


def _shrink_plans(path: Path) -> None:
    plans = json.loads(path.read_text())
    configuration = plans["configurations"][CONFIGURATION]
    configuration["patch_size"], configuration["batch_size"] = [16, 16], 2
    architecture = configuration["architecture"]["arch_kwargs"]
    stages = 3
    for key, value in architecture.items():
        if isinstance(value, list):
            architecture[key] = value[: stages - 1 if key == "n_conv_per_stage_decoder" else stages]
    architecture |= {"n_stages": stages, "features_per_stage": [4, 8, 8], "strides": [[1, 1], [2, 2], [2, 2]]}
    path.write_text(json.dumps(plans))


def _preprocess(folder: Path) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    extract_fingerprints([DATASET_ID], num_processes=1, verbose=False, show_progress_bar=False)
    plan_experiments([DATASET_ID])
    _shrink_plans(folder / "nnUNetPlans.json")
    preprocess([DATASET_ID], configurations=[CONFIGURATION], num_processes=[1], show_progress_bar=False)
    split = {"train": CASES[:3], "val": CASES[3:]}
    (folder / "splits_final.json").write_text(json.dumps([split]))


def _make(root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results"):
            (root / name).mkdir()
            patch.setenv(f"nnUNet_{name}", str(root / name))
        patch.setenv("nnUNet_n_proc_DA", "1")
        _write_raw(root / "raw" / DATASET)
        with warm.children():
            _preprocess(root / "preprocessed" / DATASET)


@pytest.fixture(scope="session")
def preprocessed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nnU-Net's preprocessed folder with the tiny data set in it."""
    return made_once(tmp_path_factory, "nnunet", _make) / "preprocessed"


class Lab:
    """nnU-Net's folders and variables for one test, and trainings in them by nnU-Net's own function."""

    def __init__(self, preprocessed: Path, results: Path, patch: pytest.MonkeyPatch) -> None:
        self.results, self.patch = results, patch
        for name, folder in (("preprocessed", preprocessed), ("results", results), ("raw", results)):
            patch.setenv(f"nnUNet_{name}", str(folder))
        # The pictures of the progress, nnU-Net's and ours, take longer than an epoch here.
        patch.setattr(f"{LOGGER}.plot_progress_png", lambda *_: None)
        patch.setattr("nnunet_ext.trainers.record.curves.draw_training_curves", lambda *_: None)
        self.variables(n_proc_DA=0, n_iterations=1, n_val_iterations=1, initial_lr=1e-4)

    def variables(self, **settings: Any) -> None:
        """Set `nnUNet_<name>` for each setting; None unsets it."""
        for name, value in settings.items():
            if value is None:
                self.patch.delenv(f"nnUNet_{name}", raising=False)
            else:
                self.patch.setenv(f"nnUNet_{name}", str(value))

    def dices(self, values: list[float]) -> None:
        """Let the validation of epoch i find `values[i]`, and the last of them from then on."""
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        def on_validation_epoch_end(trainer: Any, _: Any) -> None:
            dice = np.float32(values[min(trainer.current_epoch, len(values) - 1)])
            trainer.logger.log("mean_fg_dice", dice, trainer.current_epoch)
            trainer.logger.log("dice_per_class_or_region", [dice], trainer.current_epoch)
            trainer.logger.log("val_losses", 0.0, trainer.current_epoch)

        self.patch.setattr(nnUNetTrainer, "on_validation_epoch_end", on_validation_epoch_end)

    def train_and_kill(self, trainer: str, epoch: int, **options: Any) -> None:
        """Train until the beginning of an epoch, and leave as a killed process does."""
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        begin = nnUNetTrainer.on_epoch_start

        def on_epoch_start(this: Any) -> None:
            if this.current_epoch == epoch:
                raise KeyboardInterrupt
            begin(this)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(nnUNetTrainer, "on_epoch_start", on_epoch_start)
            self.train(trainer, **options)

    def train(
        self, trainer: str = "nnUNetTrainerCustomEpochs", *, validate: bool = False, **options: Any
    ) -> Any:
        """Run `nnunetv2.run.run_training.run_training` and return the trainer that it made.

        Args:
            trainer: name of one of our trainers or of nnU-Net's.
            validate: whether to predict the validation case, which takes long.
            options: further arguments of nnU-Net's function.
        """
        import torch
        from nnunetv2.run import run_training
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        from nnunet_ext.trainers.discovery import nnunet_ext_trainers as ours

        made: list[Any] = []
        torch.set_num_threads(1)  # more of them only wait for each other on patches this small

        def find(name: str) -> type:
            return getattr(ours, name, nnUNetTrainer)

        def construct(*args: Any, **kwargs: Any) -> Any:
            made.append(original(*args, **kwargs))
            return made[0]

        with pytest.MonkeyPatch.context() as patch, warm.children():
            original = run_training.get_trainer_from_args
            patch.setattr(run_training, "recursive_find_trainer_class_by_name", find)
            patch.setattr(run_training, "get_trainer_from_args", construct)
            if not validate:
                patch.setattr(nnUNetTrainer, "perform_actual_validation", lambda *_: None)
            device = torch.device("cpu")
            run_training.run_training(DATASET, CONFIGURATION, 0, trainer, device=device, **options)
        return made[0]

    def log(self, trainer: str) -> str:
        """All training logs of the fold, one after the other."""
        return "".join(path.read_text() for path in sorted(self.fold(trainer).glob("training_log_*.txt")))

    def fold(self, trainer: str) -> Path:
        return self.results / DATASET / f"{trainer}__nnUNetPlans__{CONFIGURATION}" / "fold_0"


@pytest.fixture
def lab(preprocessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(preprocessed, tmp_path / "results", monkeypatch)


@pytest.fixture(scope="session")
def unetpp(preprocessed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a UNet++ of depth 2 that was trained on plans for a plain U-Net; only to be read."""
    with pytest.MonkeyPatch.context() as patch:
        lab = Lab(preprocessed, tmp_path_factory.mktemp("results"), patch)
        lab.variables(n_epochs=1, n_iterations=30, initial_lr=1e-2)
        lab.train("nnUNetTrainerUNetPlusPlus")
    return lab.fold("nnUNetTrainerUNetPlusPlus").parent


@pytest.fixture
def read() -> Callable[[Path], dict[str, Any]]:
    """Reads a checkpoint."""
    from nnunet_ext.networks.checkpoint_file import read_checkpoint

    return read_checkpoint
