"""Data for tests, from a seed: anisotropic, with axes of unequal length, so that a swapped axis shows."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.dataset_json import Labels, labels_of

SHAPE = (5, 7, 9)
LABELS = {"background": 0, "myocardium": 1, "left_ventricle": 2, "right_ventricle": 3}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
REGION_ORDER = [1, 2, 3]
COSINE, SINE = math.cos(0.3), math.sin(0.3)


def geometry(shape: Sequence[int] = SHAPE) -> Geometry:
    """An oblique grid of 3 x 0.8 x 0.7 mm with an origin of its own; in 2D a plain one."""
    if len(shape) == 2:
        return Geometry(tuple(shape), (0.8, 0.7), (-3.5, 12.25), (1.0, 0.0, 0.0, 1.0))
    direction = (COSINE, -SINE, 0.0, SINE, COSINE, 0.0, 0.0, 0.0, 1.0)
    return Geometry(tuple(shape), (3.0, 0.8, 0.7), (-12.5, 30.25, 7.0), direction)


def labels(entries: Mapping[str, object] = LABELS, order: list[int] | None = None) -> Labels:
    """Labels of a dataset.json with these entries."""
    return labels_of({"labels": entries, "regions_class_order": order})


def region_labels() -> Labels:
    """Three regions, one inside the other."""
    return labels(REGIONS, REGION_ORDER)


def softmax(seed: int, n_labels: int = 4, shape: Sequence[int] = SHAPE) -> NDArray[np.float32]:
    """Probabilities `(L, *shape)` that sum to 1."""
    logits = np.random.default_rng(seed).normal(0, 3, (n_labels, *shape)).astype(np.float32)
    exponentials = np.exp(logits - logits.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def sigmoid(seed: int, n_regions: int = 3, shape: Sequence[int] = SHAPE) -> NDArray[np.float32]:
    """Probabilities `(L, *shape)` of regions, each on its own."""
    logits = np.random.default_rng(seed).normal(0, 3, (n_regions, *shape)).astype(np.float32)
    return 1 / (1 + np.exp(-logits))


def write_dataset_json(
    folder: Path,
    entries: Mapping[str, object] = LABELS,
    order: list[int] | None = None,
    ending: str = ".nii.gz",
    channels: Sequence[str] = ("MRI",),
    n_training: int = 1,
) -> Path:
    """A dataset.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {str(number): name for number, name in enumerate(channels)}
    content = {
        "channel_names": names,
        "labels": entries,
        "numTraining": n_training,
        "file_ending": ending,
    }
    if order:
        content["regions_class_order"] = order
    path = folder / "dataset.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def sitk_properties(grid: Geometry) -> dict[str, object]:
    """What nnU-Net's SimpleITKIO keeps of a scan."""
    return {
        "sitk_stuff": {"spacing": grid.spacing[::-1], "origin": grid.origin, "direction": grid.direction},
        "spacing": list(grid.spacing),
        "bbox_used_for_cropping": [[0, size] for size in grid.shape],
        "class_locations": {1: np.zeros((0, 4), np.int64)},
    }


def write_prediction(
    folder: Path, case_id: str, probabilities: NDArray[np.floating], grid: Geometry | None = None
) -> Path:
    """`CASE.npz` and `CASE.pkl` as `nnUNetv2_predict --save_probabilities` writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case_id}.npz"
    np.savez_compressed(path, probabilities=probabilities)
    grid = grid or geometry(probabilities.shape[1:])
    (folder / f"{case_id}.pkl").write_bytes(pickle.dumps(sitk_properties(grid)))
    return path


def write_image(path: Path, array: NDArray[np.generic], grid: Geometry | None = None) -> Path:
    """An image of any type, as it is."""
    import SimpleITK as sitk

    grid = grid or geometry(array.shape)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), True)
    return path
