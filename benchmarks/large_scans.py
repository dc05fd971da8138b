"""`nnunet_ext predict` against `nnUNetv2_predict`: one model with one fold on large scans.

    python benchmarks/large_scans.py --labels 4 14 --repeats 2

Writes a small network with random weights (what it draws does not matter) and scans of 160 x 256 x 256 voxels
of 0.8 mm, which it sees at 1.5 mm; then runs both commands in turn. What either takes for one tiny scan is
its start-up, and is subtracted: the ratios are those of the scans alone. Masks are compared; voxels differ
only where two labels tie in half precision. Neither side mirrors.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from measure import Cost, run_measured
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.images.image import read_segmentation

DATASET, TRAINER, CONFIGURATION = "Dataset903_Large", "nnUNetTrainer", "3d_fullres"
TINY = (24, 40, 40)
TIED_VOXELS = 1e-4  # of all, at most


def main() -> int:
    """Parse, make, run, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=int, nargs="+", default=[4, 14])
    parser.add_argument("--scans", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=[160, 256, 256])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("-np", type=int, default=2, help="workers of nnU-Net's command, of each kind")
    parser.add_argument("-device", default="cpu", choices=("cpu", "cuda", "mps"))
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {os.cpu_count()} processors; ratios are nnU-Net's figure to ours")
    for n_labels in args.labels:
        with tempfile.TemporaryDirectory() as folder:
            compare(n_labels, Path(folder), args)
    return 0


def compare(n_labels: int, root: Path, args: argparse.Namespace) -> None:
    """Run both commands in turn on a tiny scan and on the large ones, and print what remains."""
    os.environ.update({f"nnUNet_{part}": str(root / part) for part in ("raw", "preprocessed", "results")})
    write_model(root / "results", n_labels)
    write_scans(root / "tiny", 1, TINY)
    write_scans(root / "large", args.scans, tuple(args.shape))
    costs: dict[tuple[str, str], list[Cost]] = {}
    for repeat in range(args.repeats + 1):
        for scans in ("tiny", "large"):
            for side, command in commands(root, scans, args).items():
                cost = run_measured(command)
                if repeat:  # the first round is a warm-up
                    costs.setdefault((side, scans), []).append(cost)
    unlike = difference(root)
    if unlike > TIED_VOXELS:
        raise SystemExit(f"the masks differ in {unlike:.2%} of the voxels")
    shape = " x ".join(map(str, args.shape))
    print(f"\n{n_labels} labels, {args.scans} scans of {shape}; {unlike:.5%} of the voxels differ, by ties")
    walls, cpus = {}, {}
    for side in ("ours", "nnunet"):
        start, whole = costs[side, "tiny"], costs[side, "large"]
        walls[side] = statistics.median(c.wall_s for c in whole) - statistics.median(c.wall_s for c in start)
        cpus[side] = statistics.median(c.cpu_s for c in whole) - statistics.median(c.cpu_s for c in start)
        peak = max(c.peak_bytes for c in whole) / 2**20
        start_up = statistics.median(c.wall_s for c in start)
        print(
            f"  {side:8} wall {walls[side]:6.1f} s    CPU {cpus[side]:6.1f} s    peak {peak:6.0f} MiB    "
            f"(start-up {start_up:.1f} s)"
        )
    wall, cpu = walls["nnunet"] / walls["ours"], cpus["nnunet"] / cpus["ours"]
    print(f"  ratio    wall {wall:6.2f} x    CPU {cpu:6.2f} x")
    print(f"  the network alone took {network_share(root, args):.0%} of our CPU time")


def commands(root: Path, scans: str, args: argparse.Namespace) -> dict[str, list[str]]:
    """Return both commands for a folder of scans."""
    plan = root / "plan.yaml"
    member = f"{{d: 903, tr: {TRAINER}, c: {CONFIGURATION}, f: [0]}}, mirroring: false, folds: logits"
    plan.write_text(f"members: {{m: {{results: {member}}}}}\n", encoding="utf-8")
    where = ["-i", str(root / scans), "-o"]
    ours = ["predict", *where, str(root / f"ours_{scans}"), "--plan", str(plan), "--overwrite"]
    for record in (root / f"ours_{scans}").glob("predict_records/*"):
        record.unlink()  # or nothing is left to do
    theirs = [str(Path(sysconfig.get_path("scripts")) / "nnUNetv2_predict"), *where]
    what = [str(root / f"nnunet_{scans}"), "-d", "903", "-c", CONFIGURATION, "-f", "0", "--disable_tta"]
    workers = ["-npp", str(args.np), "-nps", str(args.np)]
    return {
        "ours": [sys.executable, "-m", "nnunet_ext", *ours, "-device", args.device],
        "nnunet": [*theirs, *what, *workers, "-device", args.device],
    }


def network_share(root: Path, args: argparse.Namespace) -> float:
    """Predict the large scans in this process, and return the share of CPU time in the sliding window."""
    import time

    from nnunet_ext.networks.predictor import Predictor
    from nnunet_ext.prediction.run import run_predict

    plain, spent = Predictor.predict_sliding_window_return_logits, []

    def timed(self: Predictor, scan: torch.Tensor) -> torch.Tensor:
        began = time.process_time()
        logits = plain(self, scan)
        spent.append(time.process_time() - began)
        return logits

    Predictor.predict_sliding_window_return_logits = timed
    began = time.process_time()
    run_predict(root / "plan.yaml", root / "large", root / "in_process", device=args.device)
    return sum(spent) / (time.process_time() - began)


def difference(root: Path) -> float:
    """The share of voxels in which the masks of the large scans differ."""
    unlike = []
    for path in sorted((root / "nnunet_large").glob("*.nii.gz")):
        theirs, ours = read_segmentation(path)[0], read_segmentation(root / "ours_large" / path.name)[0]
        unlike.append(np.mean(ours != theirs))
    return float(np.mean(unlike))


def write_scans(folder: Path, n_scans: int, shape: tuple[int, ...]) -> None:
    """Write scans of smooth noise."""
    folder.mkdir()
    for number in range(n_scans):
        coarse = np.random.default_rng(number).normal(size=(1, 1, 10, 16, 16)).astype(np.float32)
        smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse), shape, mode="trilinear")[0, 0]
        image = sitk.GetImageFromArray(smooth.numpy())
        image.SetSpacing([0.8] * 3)
        sitk.WriteImage(image, folder / f"c{number}_0000.nii.gz")


def write_model(results: Path, n_labels: int) -> None:
    """Write a network of three stages and few features, as nnU-Net keeps it."""
    labels = {f"label {value}" if value else "background": value for value in range(n_labels)}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    content = plans()
    folder = results / DATASET / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    manager = PlansManager(content)
    torch.manual_seed(1)
    network = nnUNetTrainer.build_network_architecture(
        manager, manager.get_configuration(CONFIGURATION), 1, n_labels, False
    )
    state = {
        "network_weights": network.state_dict(),
        "trainer_name": TRAINER,
        "init_args": {"configuration": CONFIGURATION},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(state, folder / "fold_0" / "checkpoint_final.pth")


def plans() -> dict[str, object]:
    """Plans of one small network at 1.5 mm."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    statistics_of_ct = {"max": 3, "mean": 0, "median": 0, "min": -3, "percentile_00_5": -2}
    statistics_of_ct |= {"percentile_99_5": 2, "std": 1}
    architecture = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    name = "resample_data_or_seg_to_shape"
    configuration = {
        "data_identifier": "nnUNetPlans",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [64, 96, 96],
        "spacing": [1.5, 1.5, 1.5],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": name,
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg": name,
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities": name,
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": architecture,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": statistics_of_ct},
    }


if __name__ == "__main__":
    raise SystemExit(main())
