"""Measures `nnunet_ext tune` on generated members: the cost of scoring and of the whole tuning.

    python benchmarks/tune.py --cases 20 --members 6 -np 2

Writes members and references once. Scores random weights from the contested voxels and by fusing the
files again, checks that all counts of voxels are equal, and prints the ratio of the times. Then it
tunes, and prints the time against that of one pass that only reads the files, and the memory.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from ensemble import Size, generate
from measure import run_measured

from nnunet_ext.ensemble.plan import Plan
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_segmentation, write_segmentation
from nnunet_ext.jobs.execution import Execution
from nnunet_ext.metrics.overlap import joint_histogram, label_counts, n_values_of
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.probabilities.npz import NpzProbabilities
from nnunet_ext.tuning.cases import read_cases
from nnunet_ext.tuning.scoring import Scorer
from nnunet_ext.tuning.validation import find_validation

SPACING = (2.0, 1.0, 1.0)


def main() -> int:
    """Parse, generate, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--members", type=int, default=6)
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--shape", type=int, nargs=3, default=[96, 256, 256], metavar=("Z", "Y", "X"))
    parser.add_argument("-np", type=int, default=2, help="worker processes")
    parser.add_argument("--repeats", type=int, default=10, help="of scoring")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "nnunet_ext_benchmark_tune"
    )
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    print(f"{args.cases} cases of {tuple(args.shape)} voxels, {args.members} members, {args.labels} labels")
    size = Size(args.cases, args.members, args.labels, args.shape)
    members = generate(args.work / "members", size)
    write_references(members[0], args)
    compare_scoring(members, args)
    compare_tuning(members, args)
    return 0


def write_references(member: Path, args: argparse.Namespace) -> None:
    """Write references: the first member's segmentation, shifted by a few voxels in each case."""
    folder = args.work / "references"
    shutil.rmtree(folder, ignore_errors=True)
    file = NpzProbabilities(member / "case_00.npz")
    whole = np.concatenate(list(file.blocks())).reshape(file.shape)
    labels = whole.argmax(axis=0).astype(np.uint8)
    for case in range(args.cases):
        shifted = np.roll(labels, (case % 3, case % 5, case % 7), axis=(0, 1, 2))
        write_segmentation(shifted, Geometry.of_array(args.shape, SPACING), folder / f"case_{case:02}.nii.gz")


def compare_scoring(members: list[Path], args: argparse.Namespace) -> None:
    """Score one candidate after the reading pass, and by fusing the files again."""
    dataset = read_dataset(members[0] / "dataset.json")
    validation = find_validation({member.name: [member] for member in members}, dataset.file_ending)
    started = time.perf_counter()
    cases, _ = read_cases(validation, args.work / "references", dataset, Execution(n_processes=args.np))
    reading_s = time.perf_counter() - started
    scorer = Scorer([case.scored for case in cases], dataset.labels)
    n_contested = sum(len(case.volume.voxels) for case in cases)
    kept = sum(case.scored.values.nbytes for case in cases)
    rng = np.random.default_rng(0)
    times = []
    for _ in range(args.repeats):
        weights = rng.dirichlet(np.ones(args.members), args.labels).T
        started = time.perf_counter()
        counts = scorer.counts(weights)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    again = fused_counts(validation.plan, weights, args)
    fusing_s = time.perf_counter() - started
    if not np.array_equal(counts, again):
        raise SystemExit("the counts of scoring and of fused files differ")
    scoring_s = float(np.median(times))
    n_voxels = args.cases * np.prod(args.shape)
    print(f"\nequal in every count; {n_contested / n_voxels:.2%} of the voxels are contested")
    print(f"reading {reading_s:.1f} s, values kept {kept / 2**20:.0f} MiB")
    print(f"one candidate: {scoring_s * 1000:.1f} ms; fusing and comparing again {fusing_s:.1f} s")
    print(f"ratio {fusing_s / scoring_s:.0f} x")


def fused_counts(plan: Plan, weights: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """The counts of overlap in the files that an ensemble writes."""
    names = [member.name for member in plan.members]
    labels = read_dataset(plan.members[0].folders[0] / "dataset.json").labels
    by_label = {
        label: dict(zip(names, column, strict=True))
        for label, column in zip(labels.names, weights.T.tolist(), strict=True)
    }
    output = args.work / "fused"
    run_ensemble(
        Plan(members=plan.members, default_weights={}, label_weights=by_label),
        output,
        execution=Execution(n_processes=args.np),
    )
    found = []
    for path in sorted(output.glob("*.nii.gz")):
        fused, expected = (read_segmentation(one)[0] for one in (path, args.work / "references" / path.name))
        found.append(label_counts(joint_histogram(fused, expected, n_values_of(labels)), labels))
    return np.stack(found)


def compare_tuning(members: list[Path], args: argparse.Namespace) -> None:
    """Measure the whole command, and an ensemble of the same files."""
    common = ["-np", str(args.np)]
    command = [sys.executable, "-m", "nnunet_ext"]
    tune = [
        *command, "tune", "-m", *[f"{m.name}={m}" for m in members], "-r", str(args.work / "references"),
        "-o", str(args.work / "plan.yaml"), *common,
    ]  # fmt: skip
    read = [*command, "ensemble", "-i", *map(str, members), "-o", str(args.work / "read"), *common]
    reading, tuning = run_measured(read), run_measured(tune)
    print(f"\none pass (nnunet_ext ensemble) {reading.wall_s:.1f} s, {reading.peak_bytes / 2**20:.0f} MiB")
    print(f"the whole tuning {tuning.wall_s:.1f} s, {tuning.peak_bytes / 2**20:.0f} MiB")
    print(f"twice one pass and 30 s are {2 * reading.wall_s + 30:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
