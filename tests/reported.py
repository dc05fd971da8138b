"""A data set with scans, references and validated trainings of two trainers, to report on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from factories import geometry, write_dataset_json, write_image
from training_logs import LogWriter, best_stated, epochs, write_fold, write_summary

DATASET = "Dataset004_Hippocampus"
LABELS = {"background": 0, "Anterior": 1, "Posterior": 2}
SHAPE = (6, 30, 20)
TRAINERS = ("nnUNetTrainer", "nnUNetTrainerOther")
CASES = {"0": ("case_0", "case_1", "case_2", "case_3"), "1": ("case_4", "case_5", "case_6")}
LOG = "training_log_2024_4_21_09_00_00.txt"


def write_project(root: Path) -> dict[str, str]:
    """Write everything below `root`, and give nnU-Net's variables for it.

    A case's number is by how many columns its prediction is off; the other trainer's is off by one more.
    """
    write_dataset_json(root / "raw" / DATASET, LABELS)
    for case in (case for cases in CASES.values() for case in cases):
        write_image(root / "raw" / DATASET / "imagesTr" / f"{case}_0000.nii.gz", scan(), geometry(SHAPE))
        write_image(root / "raw" / DATASET / "labelsTr" / f"{case}.nii.gz", labels(), geometry(SHAPE))
    for off, trainer in enumerate(TRAINERS):
        for fold, cases in CASES.items():
            log = LogWriter().epochs(best_stated(epochs(12 - off))).end().text
            folder = write_fold(root / "results", {LOG: log}, fold=fold, trainer=trainer)
            counts = {}
            for case in cases:
                prediction = labels(int(case[-1]) + off)
                write_image(folder / "validation" / f"{case}.nii.gz", prediction, geometry(SHAPE))
                counts[case] = {
                    str(value): counted(prediction == value, labels() == value) for value in (1, 2)
                }
            write_summary(folder, counts)
    names = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed", "nnUNet_results": "results"}
    return {variable: str(root / folder) for variable, folder in names.items()}


def scan() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, SHAPE).astype(np.float32)


def labels(shift: int = 0) -> np.ndarray:
    """Two boxes, moved by some columns."""
    array = np.zeros(SHAPE, np.uint8)
    array[2:5, 8:20, 2 + shift : 10 + shift] = 1
    array[3:5, 20:26, 4 + shift : 10 + shift] = 2
    return array


def counted(prediction: np.ndarray, reference: np.ndarray) -> tuple[int, int, int]:
    return int(reference.sum()), int(prediction.sum()), int((prediction & reference).sum())


def falling(values: list[float], rising: list[float]) -> list:
    """Epochs with these training and validation losses."""
    pairs = zip(values, rising, strict=True)
    return [
        replace(epochs(1, first=i)[0], train_loss=train, val_loss=val, dice=(0.5, 0.5))
        for i, (train, val) in enumerate(pairs)
    ]
