"""Data sets of a few tiny scans whose fingerprints claim what a test wants to have planned."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from factories import write_image

# nnU-Net reads this as it is imported.
os.environ.setdefault("nnUNet_def_n_proc", "1")

CASES = ("a", "b", "c")
INTENSITIES = {
    "max": 3.0,
    "mean": 0.5,
    "median": 0.5,
    "min": 0.0,
    "percentile_00_5": 0.0,
    "percentile_99_5": 2.5,
    "std": 1.0,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = [name for name in ("torch", "nnunetv2") if importlib.util.find_spec(name) is None]
    for item in items:
        if missing and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"{' and '.join(missing)} cannot be imported"))


@dataclass(frozen=True)
class Folders:
    """nnU-Net's folders, and data sets made in them."""

    root: Path

    def dataset(
        self,
        spacing: Sequence[float],
        shape: Sequence[int],
        *,
        number: int = 7,
        n_cases: int = 100,
        n_labels: int = 3,
        fingerprint: bool = True,
    ) -> str:
        """A data set whose scans claim this spacing in mm and this shape; its name."""
        name = f"Dataset{number:03d}_Claimed"
        raw, preprocessed = self.root / "nnUNet_raw" / name, self.preprocessed(name)
        for case in CASES:
            write_image(raw / "imagesTr" / f"{case}_0000.nii.gz", np.zeros((2, 3, 4), np.float32))
            write_image(raw / "labelsTr" / f"{case}.nii.gz", np.zeros((2, 3, 4), np.uint8))
        description = {
            "channel_names": {"0": "MRI"},
            "labels": {"background": 0} | {f"label_{i}": i for i in range(1, n_labels)},
            "numTraining": n_cases,
            "file_ending": ".nii.gz",
        }
        (raw / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
        if fingerprint:
            preprocessed.mkdir(parents=True)
            claims = {
                "spacings": [list(spacing)] * len(CASES),
                "shapes_after_crop": [list(shape)] * len(CASES),
                "median_relative_size_after_cropping": 1.0,
                "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
            }
            text = json.dumps(claims)
            (preprocessed / "dataset_fingerprint.json").write_text(text, encoding="utf-8")
        return name

    def preprocessed(self, name: str) -> Path:
        return self.root / "nnUNet_preprocessed" / name


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    return Folders(tmp_path)
