"""`nnunet_ext evaluate` against `nnUNetv2_evaluate_folder` on generated segmentations.

    python benchmarks/evaluate.py --cases 20 -np 2

Writes predictions and references once, runs both commands in turn, checks that both `summary.json`
hold the same numbers, and prints wall time, CPU time and peak memory of the whole process trees, as
medians and ratios.
"""

from __future__ import annotations

import argparse
import json
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

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import write_segmentation

SPACING = (2.0, 1.0, 1.0)


def main() -> int:
    """Parse, generate, run, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--labels", type=int, default=8, help="background included")
    parser.add_argument("--shape", type=int, nargs=3, default=[128, 256, 256], metavar=("Z", "Y", "X"))
    parser.add_argument("-np", type=int, default=2, help="worker processes of either command")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "nnunet_ext_benchmark_evaluate"
    )
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    print(f"{args.cases} cases, {args.labels} labels, {tuple(args.shape)} voxels, -np {args.np}")
    generate(args)
    compare(args)
    return 0


def generate(args: argparse.Namespace) -> None:
    """Write smooth segmentations, and predictions that differ at the borders; all cases are copies."""
    shutil.rmtree(args.work, ignore_errors=True)
    rng = np.random.default_rng(0)
    fields = rng.standard_normal((args.labels, 9, 9, 9))
    fields[0] += 0.5
    noise = rng.standard_normal((args.labels, 9, 9, 9)) * 0.2
    for folder, values in (("ref", fields), ("pred", fields + noise)):
        scores = np.stack([zoom(f, [n / 9 for n in args.shape], order=1).astype(np.float32) for f in values])
        grid = Geometry.of_array(args.shape, SPACING)
        first = args.work / folder / "case_00.nii.gz"
        write_segmentation(scores.argmax(axis=0), grid, first)
        for case in range(1, args.cases):
            shutil.copyfile(first, first.with_name(f"case_{case:02}.nii.gz"))
    labels = {"background": 0, **{f"label_{value}": value for value in range(1, args.labels)}}
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": labels,
        "numTraining": args.cases,
        "file_ending": ".nii.gz",
    }
    plans = {
        "dataset_name": "Dataset001_Benchmark",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "configurations": {},
    }
    (args.work / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    (args.work / "plans.json").write_text(json.dumps(plans), encoding="utf-8")


def compare(args: argparse.Namespace) -> None:
    """Run both commands in turn and print their figures; the first pair is a warm-up and checked."""
    work = args.work
    theirs = str(Path(sysconfig.get_path("scripts")) / "nnUNetv2_evaluate_folder")
    pred, ref, dataset = str(work / "pred"), str(work / "ref"), str(work / "dataset.json")
    commands = {
        "nnunet_ext evaluate": [
            sys.executable, "-m", "nnunet_ext", "evaluate", "-i", pred, "-r", ref, "-d", dataset,
            "-o", str(work / "ours"),
        ],
        "nnUNetv2_evaluate_folder": [
            theirs, ref, pred, "-djfile", dataset, "-pfile", str(work / "plans.json"),
            "-o", str(work / "theirs.json"),
        ],
    }  # fmt: skip
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for repeat in range(args.repeats + 1):
        for name, command in commands.items():
            cost = run_measured([*command, "-np", str(args.np)])
            if repeat:
                costs[name].append(cost)
        if repeat == 0:
            check_equality(work)
    print(f"\nequal in every number; {args.repeats} runs of each, in turn:")
    for name, of_command in costs.items():
        print(summary(name, of_command))
    print(ratios(*costs.values()))


def check_equality(work: Path) -> None:
    """Exit with an error where a number differs."""
    ours, theirs = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (work / "ours" / "summary.json", work / "theirs.json")
    )
    if repr(ours) != repr(theirs):
        raise SystemExit(f"{work}: the two summaries differ")


if __name__ == "__main__":
    sys.exit(main())
