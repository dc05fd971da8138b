"""Writes a data set and its plans; nnU-Net preprocesses the scans, but does not plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from unet_plus_plus import REQUIRE_IMPORT, arch_kwargs

DATASET, DATASET_ID, PLANS = "Dataset990_GpuCheck", "990", "GpuCheckPlans"
WIDE, NARROW = "3d_fullres", "3d_narrow"
LABELS = {"background": 0, "left": 1, "middle": 2, "right": 3}
RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
STATISTICS = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)


@dataclass(frozen=True)
class Sizes:
    """The sizes of all parts.

    Attributes:
        scan: shape of the training scans; axes differ, so that a swapped one shows.
        n_cases: of the data set.
        patch: of the wide network, that of nnU-Net's plans for 8 GB.
        features: of the wide network.
        narrow_patch: of the narrow one, for what does not depend on the size.
        narrow_features: of the narrow one.
        predicted: shape of the scan that is predicted.
        predicted_often: shape of the one that is predicted many times.
        n_predicted_labels: of the models that predict.
    """

    scan: tuple[int, int, int] = (144, 136, 152)
    n_cases: int = 8
    patch: tuple[int, int, int] = (128, 128, 128)
    features: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    narrow_patch: tuple[int, int, int] = (64, 64, 64)
    narrow_features: tuple[int, ...] = (16, 32, 64, 128)
    predicted: tuple[int, int, int] = (256, 256, 256)
    predicted_often: tuple[int, int, int] = (144, 136, 152)
    n_predicted_labels: int = 14


SMALL = Sizes(
    (20, 18, 22), 8, (16, 16, 16), (4, 8, 8), (16, 16, 16), (4, 8, 8), (24, 20, 28), (20, 18, 22), 4
)
FULL = Sizes()


def sizes(is_small: bool) -> Sizes:
    """Sizes of the full or the small form."""
    return SMALL if is_small else FULL


def configuration(
    patch: Sequence[int], features: tuple[int, ...], spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> dict[str, Any]:
    """One complete configuration of plans."""
    return {
        "data_identifier": PLANS,
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": list(patch),
        "spacing": list(spacing),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": RESAMPLING,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": arch_kwargs(features),
            "_kw_requires_import": list(REQUIRE_IMPORT),
        },
        "batch_dice": True,
    }


def plans_of(configurations: dict[str, Any], dataset: str = DATASET) -> dict[str, Any]:
    """Plans with these configurations."""
    return {
        "dataset_name": dataset,
        "plans_name": PLANS,
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [128, 128, 128],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": configurations,
        "experiment_planner_used": "none",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": STATISTICS},
    }


def dataset_json(labels: dict[str, int], n_cases: int) -> dict[str, Any]:
    """The dataset.json of one channel."""
    return {
        "channel_names": {"0": "MRI"}, "labels": labels, "numTraining": n_cases, "file_ending": ".nii.gz",
    }  # fmt: skip


def make_data(work: Path, *, is_small: bool) -> None:
    """Write scans, plans and preprocessed data where they are missing."""
    size = sizes(is_small)
    raw, preprocessed = work / "raw" / DATASET, work / "preprocessed" / DATASET
    done = preprocessed / "done"
    if done.is_file():
        return
    configurations = {
        WIDE: configuration(size.patch, size.features),
        NARROW: configuration(size.narrow_patch, size.narrow_features),
    }
    description = dataset_json(LABELS, size.n_cases)
    cases = [f"case_{number:03d}" for number in range(size.n_cases)]
    for folder in (
        raw / "imagesTr",
        raw / "labelsTr",
        preprocessed / PLANS,
        preprocessed / "gt_segmentations",
    ):
        folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{PLANS}.json": plans_of(configurations),
        "dataset.json": description,
        "dataset_fingerprint.json": {},
        "splits_final.json": [{"train": cases[1:], "val": cases[:1]}],
    }
    for name, content in files.items():
        (preprocessed / name).write_text(json.dumps(content), encoding="utf-8")
    (raw / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    with ThreadPoolExecutor(size.n_cases) as threads:
        list(
            threads.map(
                lambda number: _make_case(work, cases[number], number, size.scan), range(size.n_cases)
            )
        )
    done.touch()


def _make_case(work: Path, case: str, seed: int, shape: tuple[int, int, int]) -> None:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    raw, preprocessed = work / "raw" / DATASET, work / "preprocessed" / DATASET
    scan, segmentation = balls(seed, shape, len(LABELS))
    image, labels = raw / "imagesTr" / f"{case}_0000.nii.gz", raw / "labelsTr" / f"{case}.nii.gz"
    write(scan, image)
    write(segmentation, labels)
    shutil.copy(labels, preprocessed / "gt_segmentations")
    plans = PlansManager(str(preprocessed / f"{PLANS}.json"))
    DefaultPreprocessor(verbose=False).run_case_save(
        str(preprocessed / PLANS / case), [str(image)], str(labels), plans,
        plans.get_configuration(WIDE), str(preprocessed / "dataset.json"),
    )  # fmt: skip


def balls(
    seed: int, shape: tuple[int, int, int], n_labels: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Balls in noise, each of a brightness and a label of its own; scan and segmentation `(Z, Y, X)`."""
    rng = np.random.default_rng(seed)
    scan = rng.normal(100, 20, shape).astype(np.float32)
    segmentation = np.zeros(shape, np.uint8)
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    for label in range(1, n_labels):
        centre, radius = rng.uniform(-0.6, 0.6, 3).astype(np.float32), np.float32(rng.uniform(0.2, 0.4))
        inside = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) < radius**2
        segmentation[inside] = label
        scan[inside] += 40 * label
    return scan.astype(np.int16), segmentation


def write(array: NDArray[Any], path: Path, spacing: float = 1.0) -> None:
    """Write a volume as a NIfTI file."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing((spacing,) * 3)
    sitk.WriteImage(image, str(path), True)
