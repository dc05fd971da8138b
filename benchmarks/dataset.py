"""A data set to train on: the demo's phantom, planned and preprocessed by nnU-Net, 2d only."""

from __future__ import annotations

import os
from pathlib import Path

from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)

from nnunet_ext.demo.dataset import DATASET, DATASET_ID, write_dataset
from nnunet_ext.demo.planning import DemoPlanner

CONFIGURATION = "2d"
MEMORY_GB = 1.0


class BenchmarkPlanner(DemoPlanner):
    """Plans the demo's data with patches of a whole slice, and with networks of a chosen width."""

    n_features = 32

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.UNet_base_num_features = self.n_features
        self.UNet_vram_target_GB = MEMORY_GB
        self.plans_identifier = plans_of(self.n_features)


def plans_of(n_features: int) -> str:
    """Identifier of the plans for networks of one width."""
    return f"Benchmark{n_features}Plans"


def prepare(work: Path, n_features: int = 32) -> tuple[str, str]:
    """Set nnU-Net's variables to folders below `work`, and make the data set where it is missing.

    Args:
        work: a folder, kept for the next time.
        n_features: of the network's first stage; nnU-Net's own have 32.

    Returns:
        The number of the data set as nnU-Net's commands take it, and the identifier of the plans.
    """
    folders = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    # nnU-Net's planner hands the number of workers to torch, which refuses 0.
    os.environ.update(folders | {"nnUNet_n_proc_DA": "1"})
    raw, preprocessed = work / "raw" / DATASET, work / "preprocessed" / DATASET
    plans = plans_of(n_features)
    done = preprocessed / f"{plans}.done"
    if not (raw / "dataset.json").is_file():
        write_dataset(raw)
    if not done.is_file():
        planner = type("Planner", (BenchmarkPlanner,), {"n_features": n_features})
        extract_fingerprint_dataset(DATASET_ID, num_processes=1)
        plan_experiment_dataset(DATASET_ID, planner)
        preprocess_dataset(DATASET_ID, plans, (CONFIGURATION,), num_processes=(1,))
        done.touch()
    return str(DATASET_ID), plans
