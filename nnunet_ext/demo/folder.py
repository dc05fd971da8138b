"""Where the demo keeps things, and what it trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.demo.dataset import DATASET
from nnunet_ext.errors import UsageError

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
        return {f"nnUNet_{name}": self.root / name for name in ("raw", "preprocessed", "results")}

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
        return self.root / "results" / DATASET / f"{TRAINER}__{PLANS}__{configuration}" / f"fold_{fold}"

    def prediction(self, configuration: str, fold: int) -> Path:
        """One fold's probabilities of the test cases."""
        return self.root / "predictions" / configuration / f"fold_{fold}"

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
