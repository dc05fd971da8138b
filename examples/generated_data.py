"""Files such as nnU-Net leaves behind, made up for the examples in seconds: probabilities and logs.

Nothing here is of use for your own data: the examples name the folders that nnU-Net and this package write.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nnunet_ext.demo.dataset import DATASET, write_dataset
from nnunet_ext.demo.phantom import LABELS
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_segmentation, write_segmentation

Noise = Mapping[str, float]  # by label: how badly a network finds it
LABELLED = list(LABELS)[1:]
LOG = "training_log_2026_3_1_09_00_00.txt"


def raw_data_set(base: Path) -> Path:
    """Write the phantom data set below `nnUNet_raw`; half of its 16 cases have a right ventricle."""
    write_dataset(base / "nnUNet_raw" / DATASET)
    return base / "nnUNet_raw" / DATASET


def predict(references: Iterable[Path], folder: Path, noise: Noise, seed: int) -> None:
    """Write `CASE.npz` and `CASE.pkl` into a folder, as `nnUNetv2_predict --save_probabilities` does."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(dataset_json(), encoding="utf-8")
    for path in references:
        reference, geometry = read_segmentation(path)
        case_id = path.name.removesuffix(".nii.gz")
        np.savez_compressed(folder / f"{case_id}.npz", probabilities=network_output(reference, noise, rng))
        (folder / f"{case_id}.pkl").write_bytes(pickle.dumps(properties(geometry)))


def validate(references: Iterable[Path], folder: Path, noise: Noise, seed: int) -> None:
    """Write the segmentations of a fold's validation."""
    rng = np.random.default_rng(seed)
    for path in references:
        reference, geometry = read_segmentation(path)
        segmentation = network_output(reference, noise, rng).argmax(axis=0).astype(np.uint8)
        write_segmentation(segmentation, geometry, folder / path.name)


def network_output(
    reference: NDArray[np.integer], noise: Noise, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Make probabilities `(labels, z, y, x)` that are wrong at borders, the more the noisier a label is."""
    logits = np.stack(
        [9 * gaussian_filter(1.0 * (reference == value), (0.5, 1.2, 1.2)) for value in LABELS.values()]
    )
    for name in LABELLED:
        smooth = gaussian_filter(rng.normal(size=reference.shape), (0.6, 2, 2))
        logits[LABELS[name]] += noise[name] * np.clip(smooth / smooth.std(), -2.5, 2.5)
    exponentials = np.exp(logits - logits.max(axis=0))
    return (exponentials / exponentials.sum(axis=0)).astype(np.float32)


def write_training(model: Path, fold: int, best_dice: Noise, n_epochs: int, planned: int, seed: int) -> Path:
    """Write the log of a training that ended, by itself or early."""
    rng = np.random.default_rng(seed)
    folder = model / f"fold_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    (model / "dataset.json").write_text(dataset_json(), encoding="utf-8")
    lines = []
    for epoch in range(n_epochs):
        learnt = 1 - np.exp(-epoch / 12)
        dice = [float(np.clip(best * learnt + rng.normal(0, 0.02), 0, 1)) for best in best_dice.values()]
        loss = 0.4 - 1.2 * learnt * float(np.mean(dice))
        lines += [
            "",
            f"Epoch {epoch}",
            f"Current learning rate: {0.01 * (1 - epoch / planned) ** 0.9:.5f}",
            f"train_loss {loss - 0.05 * learnt:.4f}",
            f"val_loss {loss + rng.normal(0, 0.02):.4f}",
            f"Pseudo dice [{', '.join(f'{one:.4f}' for one in dice)}]",
            f"Epoch time: {30 + rng.normal(0, 0.5):.2f} s",
        ]
    if n_epochs < planned:
        lines.append(f"Training stopped after {n_epochs} of {planned} epochs by patience.")
    lines += ["Training done.", "Validation complete"]
    text = "".join(f"2026-03-01 {9 + i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}.000000: {line} \n"
                   for i, line in enumerate(lines))  # fmt: skip
    (folder / LOG).write_text(text, encoding="utf-8")
    return folder


def dataset_json() -> str:
    """Make the content of the dataset.json that lies beside models and predictions."""
    entries = {"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": 12, "file_ending": ".nii.gz"}
    return json.dumps(entries)


def properties(geometry: Geometry) -> dict[str, object]:
    """Make what nnU-Net keeps of a scan in `CASE.pkl`."""
    image = {"spacing": geometry.spacing[::-1], "origin": geometry.origin, "direction": geometry.direction}
    box = [[0, size] for size in geometry.shape]
    return {"sitk_stuff": image, "spacing": list(geometry.spacing), "bbox_used_for_cropping": box}
