"""Small raw data sets with plans, of the kinds that nnU-Net preprocesses in different ways."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import models
import numpy as np
from factories import write_image
from scipy.ndimage import gaussian_filter

from nnunet_ext.images.geometry import Geometry

Z_SCORE = "ZScoreNormalization"
NAME = "Dataset905_Raw"
LABELS = {"background": 0, "organ": 1, "tumour": 2}
CASES = ("case_0", "case_1", "case_2")


@dataclass(frozen=True)
class Kind:
    """A kind of data set.

    Attributes:
        shape: of its scans, `(Z, Y, X)`; each case is larger by 2 than the one before. Without its edges
            it has odd sizes, so that no voxel lies halfway between two.
        spacing: mm, of its scans.
        target: mm, of 3d_fullres.
        order: of the spline of images.
        normalization: scheme of both channels.
        transpose: order of the axes in the plans.
        labels: entry of dataset.json.
        more: further entries of dataset.json.
    """

    shape: tuple[int, int, int] = (15, 22, 20)
    spacing: tuple[float, float, float] = (1.1, 0.97, 1.03)
    target: tuple[float, float, float] = (0.8, 0.71, 0.83)
    order: int = 3
    normalization: str = "CTNormalization"
    transpose: tuple[int, int, int] = (0, 1, 2)
    labels: Mapping[str, Any] = field(default_factory=lambda: dict(LABELS))
    more: Mapping[str, Any] = field(default_factory=dict)


KINDS = {
    "isotropic": Kind(),
    "anisotropic": Kind((7, 30, 26), (8.0, 1.23, 1.17), (7.0, 1.01, 0.93), normalization=Z_SCORE),
    "transposed": Kind(transpose=(1, 2, 0), order=1, normalization=Z_SCORE),
    "regions": Kind(
        labels={"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
        more={"regions_class_order": [1, 2]},
    ),
}  # fmt: skip


def plans_of(kind: Kind) -> dict[str, Any]:
    """Plans of 2d, 3d_fullres, and one that inherits from it."""
    content = copy.deepcopy(models.plans(n_channels=2))
    resampling = {"is_seg": False, "order": kind.order, "order_z": 0, "force_separate_z": None}
    full = content["configurations"]["3d_fullres"]
    flat = content["configurations"]["2d"]
    target = [kind.target[axis] for axis in kind.transpose]
    for name, one, spacing in (("3d_fullres", full, target), ("2d", flat, target[1:])):
        one |= {
            "data_identifier": f"nnUNetPlans_{name}",
            "spacing": spacing,
            "resampling_fn_data_kwargs": resampling,
            "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
            "normalization_schemes": [kind.normalization] * 2,
            "use_mask_for_norm": [kind.normalization.startswith("ZScore"), False],
        }
    content["configurations"] = {
        "2d": flat,
        "3d_fullres": full,
        "3d_fullres_bs4": {"inherits_from": "3d_fullres", "batch_size": 4},
    }
    content["dataset_name"] = NAME
    content["transpose_forward"] = list(kind.transpose)
    content["transpose_backward"] = np.argsort(kind.transpose).tolist()
    return content


def scan_of(kind: Kind, seed: int) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """Two channels in a body with nothing around it, their labels, and their grid."""
    random = np.random.default_rng(8 + seed)  # of which no voxel is shared evenly by two labels
    shape = tuple(size + 2 * seed for size in kind.shape)
    smooth = gaussian_filter(random.normal(size=shape), 2)
    smooth /= smooth.std()
    body = np.zeros(shape, bool)
    body[:, 2:-1, 1:-2] = True
    body[:, 2:5, 1:4] = False
    channels = np.stack([smooth, gaussian_filter(random.normal(size=shape), 1) * 3])
    channels = np.where(body, np.rint(channels * 100) + 7, 0).astype(np.int16)
    n_labels = 3 if "ignore" in kind.labels else 2
    labels = np.clip(np.rint(smooth), 0, n_labels).astype(np.uint8) * body
    return channels, labels, Geometry.of_array(shape, kind.spacing)


def write_set(root: Path, kind: Kind) -> Path:
    """nnU-Net's folders below `root`, with a planned data set; returns its preprocessed folder."""
    raw, home = root / "raw" / NAME, root / "preprocessed" / NAME
    (root / "results").mkdir(parents=True)
    home.mkdir(parents=True)
    for seed, case in enumerate(CASES):
        channels, labels, grid = scan_of(kind, seed)
        for number, channel in enumerate(channels):
            write_image(raw / "imagesTr" / f"{case}_{number:04d}.nii.gz", channel, grid)
        write_image(raw / "labelsTr" / f"{case}.nii.gz", labels, grid)
    description = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": kind.labels,
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
        **kind.more,
    }
    for folder in (raw, home):
        (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    (home / "nnUNetPlans.json").write_text(json.dumps(plans_of(kind)), encoding="utf-8")
    return home


def environment(root: Path) -> dict[str, str]:
    """nnU-Net's variables for the folders below `root`."""
    return {f"nnUNet_{part}": str(root / part) for part in ("raw", "preprocessed", "results")}
