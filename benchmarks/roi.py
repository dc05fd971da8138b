"""Compares prediction in one stage and in two, on a phantom whose organ fills about 3 % of the scan.

    python benchmarks/roi.py

Writes scans of 48 x 72 x 72 voxels in which an organ with a small lesion lies among decoys of its brightness
and with spots of their own. Trains by nnU-Net's own commands, with networks of the same widths: a coarse
model (half the resolution, organ and lesion merged); a fine one on crops, whose patches are a third of the
size; and one stage on whole scans, for as many iterations as both together. Then predicts the test scans by
`nnunet_ext predict` and `nnunet_ext roi predict`, keeps of both the largest component of organ and lesion
together, and compares by `nnunet_ext roi evaluate`.
Prints patch sizes with nnU-Net's estimate of their memory, seconds and peak memory of each training, and
Dice by label, as it comes out. Needs no GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from measure import Cost, run_measured
from numpy.typing import NDArray

from nnunet_ext.files.whole import write_json, written_whole
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import write_segmentation
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery
from nnunet_ext.nnunet.plans import read_plans
from nnunet_ext.planning.memory import estimate_gb

SHAPE, SPACING = (48, 72, 72), (2.5, 2.0, 2.0)
LABELS = {"background": 0, "organ": 1, "lesion": 2}
BODY, ORGAN, LESION, AIR = 100.0, 140.0, 112.0, 0.0
ORGAN_MM = (25.0, 28.0, 26.0)  # half axes
N_DECOYS, NOISE = 5, 16.0
FEATURES = (8, 16, 32)
BATCH = 2
MARGIN_MM, JITTER_MM = 12, 6
PLANS, CONFIGURATION = "nnUNetPlans", "3d_fullres"
TURNED = (math.cos(0.2), -math.sin(0.2), 0.0, math.sin(0.2), math.cos(0.2), 0.0, 0.0, 0.0, 1.0)

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """One model to train.

    Attributes:
        name: as it is printed.
        dataset: its folder's name.
        patch: voxels.
        spacing: mm.
        share: of the epochs asked for.
    """

    name: str
    dataset: str
    patch: tuple[int, int, int]
    spacing: tuple[float, float, float]
    share: int = 1

    @property
    def number(self) -> str:
        """The identifier of its data set."""
        return str(int(self.dataset[7:10]))


ONE = Model("one stage", "Dataset501_Phantom", (32, 48, 48), SPACING, share=2)
COARSE = Model("coarse", "Dataset502_PhantomMerged", (24, 36, 36), (5.0, 4.0, 4.0))
FINE = Model("fine", "Dataset503_PhantomROI", (24, 32, 32), SPACING)


def main() -> int:
    """Make data, train, predict, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=16, help="to train with; one more is validated")
    parser.add_argument("--tests", type=int, default=8, help="to predict")
    parser.add_argument("--epochs", type=int, default=24, help="of each of the two stages")
    parser.add_argument("--steps", type=int, default=20, help="of each epoch")
    parser.add_argument("--work", type=Path, help="folder to keep; otherwise one that is thrown away")
    parser.add_argument("-device", default="cpu", choices=("cpu", "cuda", "mps"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as thrown_away:
        work = (args.work or Path(thrown_away)).absolute()
        folders = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
        settings = {"nnUNet_def_n_proc": "1", "nnUNet_compile": "f", TRAINER_VARIABLE: with_discovery()}
        os.environ.update(folders | settings)
        print(f"{platform.platform()}, {psutil.cpu_count()} processors")
        make_data(args, work)
        for model in (ONE, COARSE, FINE):
            train(args, work, model)
        compare(args, work)
    return 0


def make_data(args: argparse.Namespace, work: Path) -> None:
    """Make the phantom data set, the coarse one (whole scans, labels merged) and the fine one (crops)."""
    raw = work / "raw" / ONE.dataset
    if not (raw / "dataset.json").is_file():
        write_phantoms(raw, args.cases + 1, args.tests)
    for model, options in (
        (COARSE, ["--whole", "--merge", "organ=organ,lesion"]),
        (FINE, ["--margin", str(MARGIN_MM), "--jitter", str(JITTER_MM)]),
    ):
        if not (work / "raw" / model.dataset / "dataset.json").is_file():
            print(nnunet_ext("roi", "build", "-d", ONE.number, "-o", model.dataset, *options))


def write_phantoms(folder: Path, n_training: int, n_tests: int) -> None:
    """Write a raw data set whose test cases have references in `labelsTs`."""
    shares = []
    for number in range(n_training + n_tests):
        part = "Tr" if number < n_training else "Ts"
        scan, segmentation, grid = phantom(number)
        write_scan(scan, grid, folder / f"images{part}" / f"phantom_{number:03d}_0000.nii.gz")
        write_segmentation(segmentation, grid, folder / f"labels{part}" / f"phantom_{number:03d}.nii.gz")
        shares.append(np.count_nonzero(segmentation) / segmentation.size)
    content = {"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": n_training}
    write_json(content | {"file_ending": ".nii.gz"}, folder / "dataset.json")
    print(f"organ and lesion fill {min(shares):.1%} to {max(shares):.1%} of a scan")


def phantom(seed: int) -> tuple[Volume, NDArray[np.uint8], Geometry]:
    """A scan of a body with an organ, decoys around it, and a spot in each of them."""
    rng = np.random.default_rng(seed)
    lines = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(SHAPE, SPACING, strict=True)]
    axes = np.meshgrid(*lines, indexing="ij", sparse=True)
    scan = np.full(SHAPE, AIR, np.float32)
    scan[ellipsoid(axes, (0, 0, 0), (90, 64, 68))] = BODY
    centre = np.array((0, 4, -26)) + rng.uniform(-1, 1, 3) * (14, 10, 8)
    radii = np.array(ORGAN_MM) * rng.uniform(0.85, 1.15, 3)
    for _ in range(N_DECOYS):
        place = np.array((rng.uniform(-50, 50), rng.uniform(-35, 35), rng.uniform(15, 45)))
        paint(scan, axes, rng, place, rng.uniform(9, 20, 3))
    segmentation = np.zeros(SHAPE, np.uint8)
    inside, spot = paint(scan, axes, rng, centre, radii)
    segmentation[inside], segmentation[spot] = 1, 2
    scan *= 1 + 0.15 * np.sin(sum(axis * w for axis, w in zip(axes, rng.normal(0, 0.02, 3), strict=True)))
    scan += rng.normal(0, NOISE, SHAPE)
    origin = tuple(float(mm) for mm in rng.uniform(-80, 80, 3).round(2))
    return scan.astype(np.float32), segmentation, Geometry(SHAPE, SPACING, origin, TURNED)


def paint(
    scan: Volume, axes: Any, rng: np.random.Generator, centre: Any, radii: Any
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The masks of an ellipsoid and of a dark spot in it."""
    inside = ellipsoid(axes, centre, radii)
    spot = inside & ellipsoid(
        axes, centre + rng.uniform(-0.5, 0.5, 3) * radii, np.full(3, radii.min() * rng.uniform(0.22, 0.32))
    )
    scan[inside], scan[spot] = ORGAN, LESION
    return inside, spot


def ellipsoid(axes: Any, centre: Any, radii: Any) -> NDArray[np.bool_]:
    """The mask of the voxels inside an ellipsoid."""
    squares = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True))
    return np.asarray(squares < 1)


def write_scan(scan: Volume, grid: Geometry, path: Path) -> None:
    """Write a scan as int16."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(scan.round().astype(np.int16))
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    with written_whole(path) as part:
        sitk.WriteImage(image, str(part), True)


def train(args: argparse.Namespace, work: Path, model: Model) -> None:
    """Plan, shrink the plan, preprocess and train a model; print its cost."""
    preprocessed = work / "preprocessed" / model.dataset
    if not (preprocessed / f"{PLANS}_{CONFIGURATION}").is_dir():
        nnunet("extract_fingerprint", "-d", model.number, "-np", "1")
        nnunet("plan_experiment", "-d", model.number)
        shrink(preprocessed / f"{PLANS}.json", model)
        cases = sorted(path.name[:-7] for path in (work / "raw" / model.dataset / "labelsTr").iterdir())
        write_json([{"train": cases[:-1], "val": cases[-1:]}], preprocessed / "splits_final.json")
        nnunet("preprocess", "-d", model.number, "-c", CONFIGURATION, "-np", "1")
    configuration = read_plans(preprocessed / f"{PLANS}.json").resolve(CONFIGURATION)
    labels = json.loads((preprocessed / "dataset.json").read_text(encoding="utf-8"))["labels"]
    patch = f"patch {' x '.join(map(str, model.patch))}, batch {BATCH}"
    memory = (
        f"{1024 * (estimate_gb(configuration, 1, len(labels)) or math.nan):.0f} MiB by nnU-Net's estimate"
    )
    if not (trained := folder_of(args, work, model) / "fold_0" / "checkpoint_final.pth").is_file():
        os.environ.update({"nnUNet_n_proc_DA": "0"})  # not while planning, which divides by it
        cost = nnunet(
            "train", model.number, CONFIGURATION, "0", "-tr", trainer(args, model), "-device", args.device
        )
        os.environ.pop("nnUNet_n_proc_DA")
        memory_taken = f"at most {cost.peak_bytes / 2**20:.0f} MiB"
        took = f"{cost.wall_s:.0f} s, {cost.cpu_s:.0f} s of processors, {memory_taken}"
    else:
        took = f"was there, {trained.stat().st_size / 2**20:.1f} MiB"
    n_iterations = args.epochs * model.share * args.steps
    print(f"{model.name:<10} {n_iterations} iterations, {patch}: {memory}; {took}", flush=True)


def shrink(path: Path, model: Model) -> None:
    """Give the plan few features, and the model's patch and spacing."""
    plans = json.loads(path.read_text(encoding="utf-8"))
    configuration = plans["configurations"][CONFIGURATION]
    n = len(FEATURES)
    configuration |= {"patch_size": list(model.patch), "batch_size": BATCH, "spacing": list(model.spacing)}
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": n,
        "features_per_stage": list(FEATURES),
        "kernel_sizes": [[3, 3, 3]] * n,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (n - 1),
        "n_conv_per_stage": [2] * n,
        "n_conv_per_stage_decoder": [2] * (n - 1),
    }
    write_json(plans, path)


def trainer(args: argparse.Namespace, model: Model) -> str:
    """The trainer's name, which holds the settings."""
    return f"nnUNetTrainerExt_ep{args.epochs * model.share}_it{args.steps}_val1_adamw_lr2em3_seed1"


def folder_of(args: argparse.Namespace, work: Path, model: Model) -> Path:
    """The folder of the trained model."""
    return work / "results" / model.dataset / f"{trainer(args, model)}__{PLANS}__{CONFIGURATION}"


def compare(args: argparse.Namespace, work: Path) -> None:
    """Predict in one stage and in two, and print their comparison."""
    scans, references = (work / "raw" / ONE.dataset / name for name in ("imagesTs", "labelsTs"))
    plans = {model: write_plan(args, work, model) for model in (ONE, COARSE, FINE)}
    where = ["-i", str(scans), "-device", args.device]
    nnunet_ext("predict", *where, "-o", str(work / "one"), "--plan", plans[ONE])
    two = ["--coarse", plans[COARSE], "--fine", plans[FINE], "-o", str(work / "two")]
    print(nnunet_ext("roi", "predict", *where, *two))
    what = ["-i", str(work / "two"), "--one_stage", str(work / "one"), "-r", str(references)]
    dataset = str(work / "raw" / ONE.dataset / "dataset.json")
    print(nnunet_ext("roi", "evaluate", *what, "-d", dataset, "-o", str(work / "compared"), "-np", "0"))


def write_plan(args: argparse.Namespace, work: Path, model: Model) -> str:
    """Write a plan of one model without mirroring, which keeps the largest component."""
    path = work / f"{model.name.replace(' ', '_')}.yaml"
    results = f"{{d: {model.number}, tr: {trainer(args, model)}, p: {PLANS}, c: {CONFIGURATION}, f: 0}}"
    members = f"members: {{model: {{results: {results}, mirroring: false}}}}"
    path.write_text(f"{members}\npostprocess: [keep_largest: {{union: true}}]\n", encoding="utf-8")
    return str(path)


def nnunet(command: str, *arguments: str) -> Cost:
    """Run one of nnU-Net's commands."""
    return run_measured([str(Path(sysconfig.get_path("scripts")) / f"nnUNetv2_{command}"), *arguments])


def nnunet_ext(*arguments: str) -> str:
    """Run one of our commands; returns its output."""
    command = [sys.executable, "-m", "nnunet_ext", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    notes = [line for line in done.stderr.splitlines() if line.startswith(("note:", "warning:"))]
    return "\n".join([*notes, done.stdout.rstrip()])


if __name__ == "__main__":
    sys.exit(main())
