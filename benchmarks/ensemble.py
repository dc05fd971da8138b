"""`nnunet_ext ensemble` against `nnUNetv2_ensemble` on generated members.

    python benchmarks/ensemble.py --cases 2 12 --members 6 -np 2
    python benchmarks/ensemble.py --cases 2 --members 3 6 11 --labels 4 40 --store

Writes the members once into a folder, runs both commands in turn, with `--store` ours also from the
compact store, checks that every voxel of every case is equal, and prints wall time, CPU time and peak
memory of the whole process trees, as medians and ratios; where numbers of members, labels or voxels
are several, each in turn, so that growth is seen.
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
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import psutil
from measure import Cost, ratios, run_measured, summary
from scipy.ndimage import zoom

from nnunet_ext.images.image import read_segmentation
from nnunet_ext.probabilities.convert_folder import convert_folder

SPACING = (2.0, 1.0, 1.0)


def main() -> int:
    """Parse, generate, run, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cases", type=int, nargs="+", default=[2, 12], help="numbers of cases, one run each"
    )
    parser.add_argument("--members", type=int, nargs="+", default=[6])
    parser.add_argument("--labels", type=int, nargs="+", default=[4])
    parser.add_argument(
        "--shape", type=int, nargs=3, action="append", metavar=("Z", "Y", "X"), help="may be given again"
    )
    parser.add_argument("--store", action="store_true", help="also time our ensemble from the store")
    parser.add_argument("--ours_only", action="store_true", help="do not run nnUNetv2_ensemble")
    parser.add_argument("-np", type=int, default=2, help="worker processes of either command")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "nnunet_ext_benchmark")
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    shapes = args.shape or [[96, 256, 256]]
    for size in (Size(*values) for values in product(args.cases, args.members, args.labels, shapes)):
        folder = args.work / "members"
        compare(generate(folder, size), size, args)
        shutil.rmtree(folder)
    return 0


@dataclass(frozen=True)
class Size:
    """The sizes of the data to fuse."""

    cases: int
    members: int
    labels: int
    shape: list[int]

    def __str__(self) -> str:
        return f"{self.cases} cases, {self.members} members, {self.labels} labels, {self.shape} voxels"


def generate(folder: Path, size: Size) -> list[Path]:
    """Write members that mostly agree, as folds of one data set do; the cases of a member are copies.

    As in the outputs of a trained network, nine voxels of ten are background and certain, so that
    deflate shrinks the files to three quarters.
    """
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    common = smooth_noise(rng, size, coarse=9) * 30
    common[0] += 45
    members = []
    for m in range(size.members):
        member = folder / f"member_{m}"
        member.mkdir(parents=True)
        write_metadata(member, size.labels)
        logits = common + smooth_noise(rng, size, coarse=16) * 3
        exponentials = np.exp(logits - logits.max(axis=0))
        first = member / "case_00.npz"
        np.savez_compressed(first, probabilities=exponentials / exponentials.sum(axis=0))
        for case in range(size.cases):
            if case:
                shutil.copyfile(first, member / f"case_{case:02}.npz")
            (member / f"case_{case:02}.pkl").write_bytes(pickle.dumps(properties()))
        members.append(member)
    return members


def smooth_noise(rng: np.random.Generator, size: Size, coarse: int) -> np.ndarray:
    """One smooth float32 field for each label."""
    fields = []
    for _ in range(size.labels):
        field = rng.standard_normal((coarse,) * 3)
        fields.append(zoom(field, [length / coarse for length in size.shape], order=1).astype(np.float32))
    return np.stack(fields)


def write_metadata(member: Path, n_labels: int) -> None:
    """Write the dataset.json and plans.json that `nnUNetv2_predict` writes beside its predictions."""
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
    """The properties of a scan's geometry that nnU-Net pickles."""
    itk = {
        "spacing": SPACING[::-1],
        "origin": (0.0, 0.0, 0.0),
        "direction": tuple(np.eye(3).ravel().tolist()),
    }
    return {"sitk_stuff": itk, "spacing": list(SPACING)}


def stored(members: list[Path]) -> list[Path]:
    """Convert the members to the compact store."""
    folders = []
    for member in members:
        folders.append(member.with_name(member.name.replace("member", "store")))
        convert_folder(member, folders[-1])
    return folders


def compare(members: list[Path], size: Size, args: argparse.Namespace) -> None:
    """Run the commands in turn and print their figures; the first round is a warm-up and checked."""
    scripts = Path(sysconfig.get_path("scripts"))
    root = members[0].parent
    folders = [str(member) for member in members]
    ours = [sys.executable, "-m", "nnunet_ext", "ensemble"]
    commands = {"nnunet_ext": [*ours, "-i", *folders, "-o", str(root / "ours")]}
    if args.store:
        stores = map(str, stored(members))
        commands["nnunet_ext, store"] = [*ours, "-i", *stores, "-o", str(root / "from_store")]
    if not args.ours_only:
        theirs = str(scripts / "nnUNetv2_ensemble")
        commands["nnUNetv2_ensemble"] = [theirs, "-i", *folders, "-o", str(root / "theirs")]
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for repeat in range(args.repeats + 1):
        for name, command in commands.items():
            cost = run_measured([*command, "-np", str(args.np)])
            if repeat:
                costs[name].append(cost)
        if repeat == 0:
            check_equality([Path(command[-1]) for command in commands.values()], size.cases)
    print(f"\n{size}, -np {args.np}; equal in every voxel; {args.repeats} runs of each, in turn:", flush=True)
    for name, of_command in costs.items():
        print(summary(name, of_command))
    peer = costs.pop("nnUNetv2_ensemble", None)
    for name, of_command in costs.items() if peer else ():
        print(f"{name}: {ratios(of_command, peer)}", flush=True)


def check_equality(folders: list[Path], n_cases: int) -> None:
    """Exit with an error where a voxel differs."""
    for case in range(n_cases):
        name = f"case_{case:02}.nii.gz"
        first, *others = (read_segmentation(folder / name)[0] for folder in folders)
        for folder, other in zip(folders[1:], others, strict=True):
            if not np.array_equal(first, other):
                raise SystemExit(f"{folder / name}: {np.count_nonzero(first != other)} voxels differ")


if __name__ == "__main__":
    sys.exit(main())
