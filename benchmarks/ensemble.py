"""`nnunet_ext ensemble` against `nnUNetv2_ensemble` on generated members.

    python benchmarks/ensemble.py --cases 2 12 --members 6 -np 2

Writes the members once into a folder, runs both commands in turn, checks that every voxel of every
case is equal, and prints wall time, CPU time and peak memory of the whole process trees, as medians
and ratios.
"""

from __future__ import annotations

import argparse
import json
import pickle
import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import psutil
from measure import Cost, ratios, run_measured, summary
from scipy.ndimage import zoom

from nnunet_ext.volumes import read_segmentation

SPACING = (2.0, 1.0, 1.0)


def main() -> int:
    """Parse, generate, run, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cases", type=int, nargs="+", default=[2, 12], help="numbers of cases, one run each"
    )
    parser.add_argument("--members", type=int, default=6)
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--shape", type=int, nargs=3, default=[96, 256, 256], metavar=("Z", "Y", "X"))
    parser.add_argument("-np", type=int, default=2, help="worker processes of either command")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "nnunet_ext_benchmark")
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    print(f"{args.members} members, {args.labels} labels, {tuple(args.shape)} voxels, -np {args.np}")
    for n_cases in args.cases:
        members = generate(args.work / f"{n_cases}_cases", n_cases, args)
        compare(members, n_cases, args)
    return 0


def generate(folder: Path, n_cases: int, args: argparse.Namespace) -> list[Path]:
    """Members that mostly agree, as folds of one data set do; the cases of a member are copies.

    As in the outputs of a trained network, nine voxels of ten are background and certain, so that
    deflate shrinks the files to three quarters.
    """
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    common = smooth_noise(rng, args, coarse=9) * 30
    common[0] += 45
    members = []
    for m in range(args.members):
        member = folder / f"member_{m}"
        member.mkdir(parents=True)
        write_metadata(member, args.labels)
        logits = common + smooth_noise(rng, args, coarse=16) * 3
        exponentials = np.exp(logits - logits.max(axis=0))
        first = member / "case_00.npz"
        np.savez_compressed(first, probabilities=exponentials / exponentials.sum(axis=0))
        for case in range(n_cases):
            if case:
                shutil.copyfile(first, member / f"case_{case:02}.npz")
            (member / f"case_{case:02}.pkl").write_bytes(pickle.dumps(properties()))
        members.append(member)
    return members


def smooth_noise(rng: np.random.Generator, args: argparse.Namespace, coarse: int) -> np.ndarray:
    """One smooth float32 field a label."""
    fields = []
    for _ in range(args.labels):
        field = rng.standard_normal((coarse,) * 3)
        fields.append(zoom(field, [size / coarse for size in args.shape], order=1).astype(np.float32))
    return np.stack(fields)


def write_metadata(member: Path, n_labels: int) -> None:
    """The dataset.json and plans.json that `nnUNetv2_predict` leaves beside its predictions."""
    labels = {"background": 0, **{f"label_{value}": value for value in range(1, n_labels)}}
    dataset = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    plans = {
        "dataset_name": "Dataset001_Benchmark",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "configurations": {},
    }
    (member / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    (member / "plans.json").write_text(json.dumps(plans), encoding="utf-8")


def properties() -> dict[str, object]:
    """What nnU-Net pickles of a scan's geometry."""
    itk = {
        "spacing": SPACING[::-1],
        "origin": (0.0, 0.0, 0.0),
        "direction": tuple(np.eye(3).ravel().tolist()),
    }
    return {"sitk_stuff": itk, "spacing": list(SPACING)}


def compare(members: list[Path], n_cases: int, args: argparse.Namespace) -> None:
    """Run both commands in turn and print their figures; the first pair is a warm-up and checked."""
    scripts = Path(sysconfig.get_path("scripts"))
    root = members[0].parent
    folders = [str(member) for member in members]
    commands = {
        "nnunet_ext ensemble": [
            sys.executable, "-m", "nnunet_ext", "ensemble", "-i", *folders, "-o", str(root / "ours"),
        ],
        "nnUNetv2_ensemble": [str(scripts / "nnUNetv2_ensemble"), "-i", *folders, "-o", str(root / "theirs")],
    }  # fmt: skip
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for repeat in range(args.repeats + 1):
        for name, command in commands.items():
            cost = run_measured([*command, "-np", str(args.np)])
            if repeat:
                costs[name].append(cost)
        if repeat == 0:
            check_equality(root, n_cases)
    print(f"\n{n_cases} cases, equal in every voxel; {args.repeats} runs of each, in turn:")
    for name, of_command in costs.items():
        print(summary(name, of_command))
    print(ratios(*costs.values()))


def check_equality(root: Path, n_cases: int) -> None:
    """Stop where a voxel differs."""
    for case in range(n_cases):
        name = f"case_{case:02}.nii.gz"
        ours, theirs = (read_segmentation(root / who / name)[0] for who in ("ours", "theirs"))
        if not np.array_equal(ours, theirs):
            raise SystemExit(f"{name}: {np.count_nonzero(ours != theirs)} voxels differ")


if __name__ == "__main__":
    sys.exit(main())
