"""Trains nnU-Net's U-Net and UNet++ by one short recipe: Dice of each label, time and memory.

    python benchmarks/unet_plus_plus_dice.py --data hippocampus/Dataset004_Hippocampus

Both networks have the stages, features, patch and batch of one plan, nnU-Net's for that data set with
fewer features; UNet++ takes the U-Net's place in it. Each fold and seed is trained anew for the same number
of steps, in a process of its own, and validated by nnU-Net; the networks take turns. Every result is printed
as it comes out, and in the end mean and spread over seeds and folds. The defaults show that it works and
what it costs; networks this small, trained this shortly, rank nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psutil
import torch
from measure import Cost, run_measured

from nnunet_ext.metrics.dice import DiceSummary, mean_over_labels
from nnunet_ext.metrics.summary import read_validation_scores
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery

PLANS, CONFIGURATION = "nnUNetPlans", "3d_fullres"
TRAINERS = {"PlainConvUNet": "nnUNetTrainerExt", "UNet++": "nnUNetTrainerUNetPlusPlus"}


@dataclass(frozen=True)
class Trained:
    """One training.

    Attributes:
        labels: the Dice of each label by its value, over the validation cases.
        cost: of the whole command, which validates, too.
        gpu_mib: memory of the GPU at most, 0 without one.
    """

    labels: dict[str, DiceSummary]
    cost: Cost
    gpu_mib: float

    @property
    def mean(self) -> float:
        """Mean over labels of each label's mean over the cases that hold it."""
        return mean_over_labels(self.labels) or 0.0

    @property
    def dice(self) -> dict[str, float]:
        """Mean Dice of each label that a case holds."""
        return {label: one.mean for label, one in self.labels.items() if one.mean is not None}

    @property
    def peak_mib(self) -> float:
        """Peak memory of the GPU; without a GPU, of all processes."""
        return self.gpu_mib or self.cost.peak_bytes / 2**20


def main() -> int:
    """Prepare the data, train all and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a data set in nnU-Net's raw format")
    parser.add_argument("--cases", type=int, default=20, help="of the data set, the first ones")
    parser.add_argument("--epochs", type=int, default=4, help="of each training")
    parser.add_argument("--steps", type=int, default=25, help="of each epoch")
    parser.add_argument("--features", type=int, default=8, help="of the first stage; at most 8 times as many")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--recipe", default="adamw_lr0p003", help="more settings, as in a trainer's name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folds", nargs="+", default=["0", "1"])
    parser.add_argument("-device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, help="folder to keep; otherwise one that is thrown away")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as thrown_away:
        work = args.work or Path(thrown_away)
        number = prepare(args, work)
        print(
            f"{platform.platform()}, torch {torch.__version__}, {device(args)}; {args.data.name}, "
            f"{args.cases} cases, {args.epochs} x {args.steps} steps of {args.batch} patches, "
            f"{args.features} features at first"
        )
        results: dict[str, list[Trained]] = {name: [] for name in TRAINERS}
        for seed, fold, name in product(args.seeds, args.folds, TRAINERS):
            trained = train(args, work, number, name, seed, fold)
            print(f"{name:14} seed {seed}, fold {fold}: {values(trained)}", flush=True)
            results[name].append(trained)
    for name, several in results.items():
        print(summary(name, several))
    return 0


def prepare(args: argparse.Namespace, work: Path) -> str:
    """The data set's number; the data is copied, planned and preprocessed where that is not done."""
    folders = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    variables = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", TRAINER_VARIABLE: with_discovery()}
    os.environ.update(folders | variables)
    number = str(int(args.data.name.removeprefix("Dataset")[:3]))
    copy_raw(args.data, work / "raw" / args.data.name, args.cases)
    plans_file = work / "preprocessed" / args.data.name / f"{PLANS}.json"
    if not plans_file.is_file():
        run("plan_and_preprocess", "-d", number, "-c", CONFIGURATION, "-np", "1", "-npfp", "1")
    plans = json.loads(plans_file.read_text(encoding="utf-8"))
    configuration = plans["configurations"][CONFIGURATION]
    configuration["batch_size"] = args.batch
    kwargs = configuration["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [args.features * min(2**i, 8) for i in range(kwargs["n_stages"])]
    plans_file.write_text(json.dumps(plans), encoding="utf-8")
    # In this process the batches come in an order that the seed fixes, and their time counts as well.
    os.environ.update({"nnUNet_n_proc_DA": "0"})
    return number


def copy_raw(source: Path, target: Path, n_cases: int) -> None:
    """Copy the first cases of a data set, with a dataset.json that counts them."""
    if (target / "dataset.json").is_file():
        return
    dataset = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True)
        for path in sorted((source / folder).glob(f"[!.]*{dataset['file_ending']}"))[:n_cases]:
            shutil.copy(path, target / folder)
    (target / "dataset.json").write_text(json.dumps(dataset | {"numTraining": n_cases}), encoding="utf-8")


def run(command: str, *arguments: str) -> Cost:
    """Run one of nnU-Net's commands."""
    return run_measured([str(Path(sysconfig.get_path("scripts")) / f"nnUNetv2_{command}"), *arguments])


def train(args: argparse.Namespace, work: Path, number: str, name: str, seed: int, fold: str) -> Trained:
    """Train one network with one seed on one fold."""
    trainer = f"{TRAINERS[name]}_{args.recipe}_ep{args.epochs}_it{args.steps}_val1_seed{seed}"
    cost = run("train", number, CONFIGURATION, fold, "-p", PLANS, "-tr", trainer, "-device", args.device)
    model = work / "results" / args.data.name / f"{trainer}__{PLANS}__{CONFIGURATION}"
    return read(model / f"fold_{fold}", cost)


def read(fold: Path, cost: Cost) -> Trained:
    """The results that a training has written."""
    labels = read_validation_scores(fold / "validation" / "summary.json").labels
    with (fold / "history.csv").open(encoding="utf-8", newline="") as file:
        on_gpu = [float(row["gpu_memory_peak_mib"] or 0) for row in csv.DictReader(file)]
    return Trained(labels, cost, max(on_gpu))


def values(trained: Trained) -> str:
    """The results of one training as a line."""
    dice = ", ".join(f"label {label} {value:.4f}" for label, value in trained.dice.items())
    cost = f"{trained.cost.wall_s:.0f} s, {trained.cost.cpu_s:.0f} s of CPU, {trained.peak_mib:.0f} MiB"
    return f"Dice {dice}, mean {trained.mean:.4f}; {cost}"


def summary(name: str, trained: Sequence[Trained]) -> str:
    """Mean and standard deviation over all seeds and folds."""
    columns = {f"label {label}": [one.dice[label] for one in trained] for label in trained[0].dice}
    columns["mean"] = [one.mean for one in trained]
    dice = ", ".join(f"{what} {spread(numbers, 4)}" for what, numbers in columns.items())
    wall = spread([one.cost.wall_s for one in trained], 0)
    cpu = spread([one.cost.cpu_s for one in trained], 0)
    peak = max(one.peak_mib for one in trained)
    return (
        f"{name:14} {len(trained)} trainings: Dice {dice}; {wall} s, {cpu} s of CPU, at most {peak:.0f} MiB"
    )


def spread(numbers: Sequence[float], n_digits: int) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return f"{statistics.fmean(numbers):.{n_digits}f} ± {deviation:.{n_digits}f}"


def device(args: argparse.Namespace) -> str:
    """The name of the device."""
    if args.device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{psutil.cpu_count()} processors"


if __name__ == "__main__":
    sys.exit(main())
