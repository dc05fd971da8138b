"""Runs of a prediction that a test kills: in a module that a fresh process can import."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from nnunet_ext.prediction.run import run_predict


def predict(root: str, output: str) -> None:
    """Predict the scans below `root` by the plan there."""
    torch.set_num_threads(1)
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(Path(root) / name)
    run_predict(
        Path(root) / "plan.yaml",
        Path(root) / "imagesTs",
        Path(output),
        device="cpu",
        save_probabilities=True,
        zip_path=Path(output) / "all.zip",
    )
