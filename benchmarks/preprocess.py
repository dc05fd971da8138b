"""`nnunet_ext preprocess` against `nnUNetv2_preprocess` on generated scans.

    python benchmarks/preprocess.py -np 2
    python benchmarks/preprocess.py --sets anisotropic --cases 8

Writes two data sets with plans: CT-like scans of 100 x 256 x 256 voxels that become 133 x 341 x 341 by cubic
splines, and cardiac ones of thick slices. Runs both commands in turn with the same number of processes, and
checks that images are equal to a hundred-thousandth of their range and labels but for a thousandth of the
voxels. Prints wall time, CPU time and peak memory of the whole process trees, what the start of torch in one
process takes, and how the time of one case is spent in our command.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import psutil
from measure import Cost, ratios, run_measured, summary
from numpy.typing import NDArray
from scipy.ndimage import zoom

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import write_image

IDENTIFIER, CONFIGURATION = "nnUNetPlans_3d_fullres", "3d_fullres"
PARTS_OF_RANGE, TIES = 1e-5, 1e-3
START = "import nnunetv2.preprocessing.preprocessors.default_preprocessor"


@dataclass(frozen=True)
class DataSet:
    """A kind of data set.

    Attributes:
        name: of the data set, as nnU-Net has it.
        shape: of its scans.
        spacing: mm, of its scans.
        target: mm, of the plans.
        normalization: scheme of the plans.
        n_labels: background included.
        n_cases: number of scans, unless `--cases` gives it.
        aim: ratio of wall times.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    target: tuple[float, float, float]
    normalization: str
    n_labels: int
    n_cases: int
    aim: float

    @property
    def number(self) -> str:
        """Number of the data set."""
        return str(int(self.name[7:10]))


SETS = {
    "ct": DataSet(
        "Dataset701_CT", (100, 256, 256), (2, 0.8, 0.8), (1.5, 0.6, 0.6), "CTNormalization", 3, 4, 3.5
    ),
    "anisotropic": DataSet(
        "Dataset702_Cardiac",
        (14, 320, 320),
        (8, 1.4, 1.4),
        (7, 1.05, 1.05),
        "ZScoreNormalization",
        4,
        16,
        2.5,
    ),
}


def main() -> int:
    """Parse, generate, run, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--cases", type=int, help="scans of each set (default: 4 and 16)")
    parser.add_argument("-np", type=int, default=2, help="worker processes of either command")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "nnunet_ext_benchmark_preprocess"
    )
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    shutil.rmtree(args.work, ignore_errors=True)
    for part in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{part}"] = str(args.work / part)
        (args.work / part).mkdir(parents=True)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait take no CPU time
    starts = [run_measured([sys.executable, "-c", START]) for _ in range(3)]
    start_cpu_s = statistics.median(start.cpu_s for start in starts)
    start_wall_s = statistics.median(start.wall_s for start in starts)
    print(
        f"importing torch and nnU-Net in one process: {start_wall_s:.1f} s, {start_cpu_s:.1f} s of CPU time"
    )
    for name in args.sets:
        kind = SETS[name]
        generate(kind, args.work, args.cases or kind.n_cases)
        compare(name, kind, args, start_cpu_s)
        print_shares(kind, args.work)
    return 0


def generate(kind: DataSet, work: Path, n_cases: int) -> None:
    """Write scans, labels, dataset.json and plans."""
    raw, home = work / "raw" / kind.name, work / "preprocessed" / kind.name
    home.mkdir()
    for case in range(n_cases):
        scan, labels = scan_of(kind, case)
        write(scan, kind, raw / "imagesTr" / f"case_{case:02}_0000.nii.gz")
        write(labels, kind, raw / "labelsTr" / f"case_{case:02}.nii.gz")
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{f"label_{value}": value for value in range(1, kind.n_labels)}},
        "numTraining": n_cases,
        "file_ending": ".nii.gz",
    }
    for folder in (raw, home):
        (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    (home / "nnUNetPlans.json").write_text(json.dumps(plans_of(kind)), encoding="utf-8")


def write(array: NDArray[Any], kind: DataSet, path: Path) -> None:
    """Write an image with the spacing of its kind."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(Geometry.of_array(array.shape, kind.spacing).spacing[::-1])
    write_image(image, path)


def scan_of(kind: DataSet, seed: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Smooth organs with noise in a round body, nothing around it, and labels of the brightest parts."""
    rng = np.random.default_rng(seed)
    smooth = zoom(rng.normal(size=(10, 10, 10)), [n / 10 for n in kind.shape], order=1)
    y, x = (np.linspace(-1, 1, n) for n in kind.shape[1:])
    body = np.hypot(y[:, None], x[None]) < 0.9
    outside = -1024 if kind.normalization == "CTNormalization" else 0
    scan = np.where(body, smooth * 300 + rng.normal(size=kind.shape) * 25, outside)
    labels = np.ceil((smooth - 0.6).clip(0, 0.99) * (kind.n_labels - 1)) * body
    return np.rint(scan).astype(np.int16), labels.astype(np.uint8)


def plans_of(kind: DataSet) -> dict[str, Any]:
    """Plans as nnU-Net's planner writes them, as far as preprocessing reads them."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    functions = {
        f"resampling_fn_{what}{ending}": value
        for what, keywords in {
            "data": resampling,
            "seg": {**resampling, "is_seg": True, "order": 1},
            "probabilities": {**resampling, "order": 1},
        }.items()
        for ending, value in {"": "resample_data_or_seg_to_shape", "_kwargs": keywords}.items()
    }
    values = {"max": 900, "mean": 60, "median": 50, "min": -900, "std": 150}
    return {
        "dataset_name": kind.name,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner",
        "foreground_intensity_properties_per_channel": {
            "0": {**values, "percentile_00_5": -400, "percentile_99_5": 600}
        },
        "configurations": {
            CONFIGURATION: {
                "data_identifier": IDENTIFIER,
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [96, 160, 160] if kind.shape[0] > 50 else [14, 256, 256],
                "spacing": list(kind.target),
                "normalization_schemes": [kind.normalization],
                "use_mask_for_norm": [False],
                "batch_dice": False,
                "architecture": {
                    "network_class_name": "torch.nn.Identity",
                    "arch_kwargs": {},
                    "_kw_requires_import": [],
                },
                **functions,
            }
        },
    }


def compare(name: str, kind: DataSet, args: argparse.Namespace, start_cpu_s: float) -> None:
    """Run both commands in turn, check that their files hold the same, and print their figures."""
    theirs = str(Path(sysconfig.get_path("scripts")) / "nnUNetv2_preprocess")
    what = ["-d", kind.number, "-c", CONFIGURATION, "-np", str(args.np)]
    commands = {
        "nnunet_ext preprocess": [sys.executable, "-m", "nnunet_ext", "preprocess", "--overwrite", *what],
        "nnUNetv2_preprocess": [theirs, *what],
    }
    made = args.work / "preprocessed" / kind.name / IDENTIFIER
    costs: dict[str, list[Cost]] = {command: [] for command in commands}
    for _ in range(args.repeats):
        for command, words in commands.items():
            costs[command].append(run_measured(words))
            kept = args.work / command
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(made, kept)
    sizes = check([args.work / command for command in commands])
    print(f"\n{name}: {args.cases or kind.n_cases} scans of {kind.shape} to {sizes}")
    print(f"equal; {args.repeats} runs of each, in turn:")
    for command, of_command in costs.items():
        print(summary(command, of_command))
    print(ratios(*costs.values()), f"  aim: wall {kind.aim:g} x")
    n_starts = args.np, args.np + 1  # nnU-Net's own process imports both, too
    ours, peers = (
        statistics.median(cost.cpu_s for cost in of_command) - n * start_cpu_s
        for of_command, n in zip(costs.values(), n_starts, strict=True)
    )
    print(f"without these imports: CPU {ours:.1f} s and {peers:.1f} s, {peers / ours:.1f} x")


def check(folders: list[Path]) -> str:
    """End with an error where the files of two folders hold other values; else describe them."""
    ours, theirs = folders
    if {path.name for path in ours.iterdir()} != {path.name for path in theirs.iterdir()}:
        raise SystemExit(f"{ours} and {theirs} hold other files")
    shape, sizes = (), [0, 0]
    for path in theirs.glob("*.b2nd"):
        own, expected = (blosc2.open(str(folder / path.name))[:] for folder in folders)
        shape = expected.shape[1:]
        if path.name.endswith("_seg.b2nd"):
            if np.mean(own != expected) > TIES:
                raise SystemExit(f"{path.name}: {np.mean(own != expected):.4f} of the labels differ")
        elif np.abs(own - expected).max() > PARTS_OF_RANGE * np.ptp(expected):
            raise SystemExit(f"{path.name}: images differ by {np.abs(own - expected).max():g}")
        sizes = [
            size + (folder / path.name).stat().st_size for size, folder in zip(sizes, folders, strict=True)
        ]
    mb = [size / 1e6 for size in sizes]
    return f"{shape}, {mb[0]:.1f} MB on the disk ({mb[1]:.1f} of nnU-Net)"


def print_shares(kind: DataSet, work: Path) -> None:
    """Preprocess one case in this process, and print the CPU time of its parts."""
    import torch

    from nnunet_ext.preprocessing import case, locations
    from nnunet_ext.preprocessing.plan import CaseFiles, PreprocessingPlan
    from nnunet_ext.preprocessing.proof import inputs_digest
    from nnunet_ext.resampling.functions import DefaultResampling

    torch.set_num_threads(1)
    raw = work / "raw" / kind.name
    files = CaseFiles(
        "case_00", (raw / "imagesTr" / "case_00_0000.nii.gz",), raw / "labelsTr" / "case_00.nii.gz"
    )
    dataset = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    preprocessor = case.CasePreprocessor(PreprocessingPlan(plans_of(kind), CONFIGURATION, dataset))
    spent: dict[str, float] = {}
    for name, module, function in (
        ("resampling", DefaultResampling, "__call__"),
        ("places of labels", locations, "draw_places"),
        ("writing", case, "write_arrays"),
        ("reading", case, "read_case"),
    ):
        setattr(module, function, clocked(getattr(module, function), name, spent))
    for part in range(2):  # the first one makes the matrices, and is not counted
        spent.clear()
        folder = work / f"shares_{kind.number}_{part}"
        folder.mkdir()
        began = time.process_time()
        arrays = case.read_case(files, preprocessor.plans, 1)
        preprocessor.write(files, arrays, folder, inputs_digest(files))
        total = time.process_time() - began
    spent["the rest (cropping, normalization)"] = total - sum(spent.values())
    print(f"one case with one thread: {total:.2f} s of CPU time")
    for name, seconds in sorted(spent.items(), key=lambda one: -one[1]):
        print(f"  {name:36} {seconds:5.2f} s  {seconds / total:4.0%}")


def clocked(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The function, which adds its CPU time to `spent`."""

    def run(*arguments: Any, **keywords: Any) -> Any:
        began = time.process_time()
        try:
            return function(*arguments, **keywords)
        finally:
            spent[name] = spent.get(name, 0.0) + time.process_time() - began

    return run


if __name__ == "__main__":
    sys.exit(main())
