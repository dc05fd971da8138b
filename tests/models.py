"""Trained models written by hand: tiny networks with random weights, as nnU-Net keeps them, and scans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from factories import LABELS, geometry, write_image

DATASET = "Dataset902_Tiny"
SHAPE = (5, 24, 21)
RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
STATISTICS = {
    "max": 9.0,
    "mean": 0.5,
    "median": 0.4,
    "min": -9.0,
    "percentile_00_5": -2.0,
    "percentile_99_5": 4.0,
    "std": 1.2,
}


def configuration(n_axes: int, spacing: Sequence[float], patch: Sequence[int], **more: Any) -> dict[str, Any]:
    """One configuration of plans: a network of two stages."""
    conv, norm = (
        f"torch.nn.modules.conv.Conv{n_axes}d",
        f"torch.nn.modules.instancenorm.InstanceNorm{n_axes}d",
    )
    return {
        "data_identifier": "nnUNetPlans",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
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
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [4, 6],
                "conv_op": conv,
                "kernel_sizes": [[3] * n_axes] * 2,
                "strides": [[1] * n_axes, [2] * n_axes],
                "n_conv_per_stage": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_bias": True,
                "norm_op": norm,
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
        **more,
    }


CONFIGURATIONS = {
    "2d": configuration(2, (0.9, 0.9), (16, 16)),
    "3d_lowres": configuration(3, (3.0, 1.5, 1.5), (4, 8, 8), next_stage="3d_cascade_fullres"),
    "3d_fullres": configuration(3, (2.0, 0.8, 0.7), (4, 16, 16)),
    "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
}


def plans(reader: str = "SimpleITKIO", n_channels: int = 1) -> dict[str, Any]:
    per_channel = ("normalization_schemes", "use_mask_for_norm")
    configurations = {
        name: {key: value * n_channels if key in per_channel else value for key, value in one.items()}
        for name, one in CONFIGURATIONS.items()
    }
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": reader,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": dict.fromkeys(map(str, range(n_channels)), STATISTICS),
    }


def write_model(
    results: Path,
    name: str,
    folds: Sequence[str] = ("0", "1"),
    *,
    entries: Mapping[str, object] = LABELS,
    order: list[int] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    reader: str = "SimpleITKIO",
    channels: Sequence[str] = ("MRI",),
    ending: str = ".nii.gz",
) -> Path:
    """A model of nnU-Net's own trainer, whose folds differ; the same weights each time."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    dataset: dict[str, Any] = {
        "channel_names": {str(index): name for index, name in enumerate(channels)},
        "labels": dict(entries),
        "numTraining": 1,
        "file_ending": ending,
    }
    if order:
        dataset["regions_class_order"] = order
    folder = results / DATASET / f"nnUNetTrainer__nnUNetPlans__{name}"
    folder.mkdir(parents=True)
    content = plans(reader, len(channels))
    (folder / "plans.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    manager = PlansManager(content)
    own = manager.get_configuration(name)
    n_outputs = manager.get_label_manager(dataset).num_segmentation_heads
    n_inputs = determine_num_input_channels(manager, own, dataset)
    for fold in folds:
        torch.manual_seed(len(name) + 100 * (int(fold) if fold.isdecimal() else 7))
        network = nnUNetTrainer.build_network_architecture(manager, own, n_inputs, n_outputs, False)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(3)  # so that labels differ from voxel to voxel
        state = {
            "network_weights": network.state_dict(),
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": name},
            "inference_allowed_mirroring_axes": (0, 1),
        }
        (folder / f"fold_{fold}").mkdir()
        torch.save(state, folder / f"fold_{fold}" / checkpoint)
    return folder


def write_scans(folder: Path, n_cases: int = 3) -> list[str]:
    """Scans of blobs in noise, dark at the rim so that nnU-Net cuts them down; their names."""
    names = [f"case_{number}" for number in range(n_cases)]
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        shape = (SHAPE[0], SHAPE[1] + number, SHAPE[2])
        scan = rng.normal(2, 1, shape).astype(np.float32)
        scan[:, 6:15, 5:14] += 4
        scan[:, :2] = scan[:, :, -3:] = 0
        write_image(folder / f"{name}_0000.nii.gz", scan, geometry(shape))
    return names
