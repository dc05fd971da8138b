"""Compares the choices of `nnunet_ext tune` and of nnU-Net on cases that neither has seen.

    python benchmarks/tuned_plan.py --data hippocampus/Dataset004_Hippocampus --work FOLDER

The first labelled cases train `2d` and `3d_fullres` in two folds by a short recipe, with few features. On
their validation probabilities choose `nnUNetv2_find_best_configuration` and `nnunet_ext tune`; both choices
predict the other labelled cases, nnU-Net's by the commands of its instructions, ours by `nnunet_ext predict`.
Printed as it comes out: the tables of the tuning, Dice of each label by both, the paired difference with its
interval, and what either choice promised. Networks this small, trained this shortly, tell how honest the
choice is, not how good nnU-Net can be. A second call with the same folder trains nothing that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from unet_plus_plus_dice import PLANS, copy_raw, run

from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery

CONFIGURATIONS = ("2d", "3d_fullres")
FOLDS = ("0", "1")


@dataclass(frozen=True)
class Bench:
    """The folders of the comparison, and the settings of its trainings.

    Attributes:
        work: holds nnU-Net's folders and ours.
        data: the data set's name, `Dataset004_Hippocampus`.
        trainer: with its settings.
        device: to train and predict on.
    """

    work: Path
    data: str
    trainer: str
    device: str

    @property
    def number(self) -> str:
        """The data set's number, as nnU-Net's commands take it."""
        return str(int(self.data.removeprefix("Dataset")[:3]))

    @property
    def preprocessed(self) -> Path:
        """The data set's folder."""
        return self.work / "preprocessed" / self.data

    @property
    def dataset_json(self) -> Path:
        """Of the training data."""
        return self.work / "raw" / self.data / "dataset.json"

    @property
    def unseen(self) -> Path:
        """The folder of `imagesTr` and `labelsTr` of the unseen cases."""
        return self.work / "unseen"

    def model(self, configuration: str) -> Path:
        """Folder of a trained model."""
        return self.work / "results" / self.data / f"{self.trainer}__{PLANS}__{configuration}"


def main() -> int:
    """Train, let both choose, predict and score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a data set in nnU-Net's raw format")
    parser.add_argument("--cases", type=int, default=24, help="to train on, the first ones")
    parser.add_argument("--features", type=int, default=8, help="of the first stage; at most 8 times as many")
    parser.add_argument("--batch", type=int, nargs=2, default=[16, 2], help="of 2d and of 3d_fullres")
    parser.add_argument(
        "--recipe", default="adamw_lr0p003_ep5_it25_val1_seed1", help="settings, as in a trainer's name"
    )
    parser.add_argument("-device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, help="folder to keep; otherwise one that is thrown away")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as thrown_away:
        work = (args.work or Path(thrown_away)).absolute()
        bench = Bench(work, args.data.name, f"nnUNetTrainerExt_{args.recipe}", args.device)
        prepare(bench, args)
        print(
            f"{platform.platform()}, torch {torch.__version__}, {psutil.cpu_count()} processors, "
            f"{args.device}; {args.data.name}, {args.cases} cases to learn from, {bench.trainer}"
        )
        for configuration in CONFIGURATIONS:
            for fold in FOLDS:
                train(bench, configuration, fold)
        theirs, chosen = choose_by_nnunet(bench), choose_by_tuning(bench)
        nnunet_ext("evaluate", "--compare", str(theirs), str(chosen), "-d", str(bench.dataset_json))
        tell_promises(bench, theirs, chosen)
    return 0


def prepare(bench: Bench, args: argparse.Namespace) -> None:
    """Copy, split, plan and preprocess the data, except for finished steps."""
    folders = {f"nnUNet_{name}": str(bench.work / name) for name in ("raw", "preprocessed", "results")}
    variables = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", TRAINER_VARIABLE: with_discovery()}
    # nnUNetv2_find_best_configuration reads npz alone.
    os.environ.update(folders | variables | {"nnUNet_probabilities": "npz"})
    copy_raw(args.data, bench.work / "raw" / bench.data, args.cases)
    copy_unseen(args.data, bench.unseen, args.cases)
    plans_file = bench.preprocessed / f"{PLANS}.json"
    splits_file = bench.preprocessed / "splits_final.json"
    if not splits_file.is_file():
        run("plan_and_preprocess", "-d", bench.number, "-c", *CONFIGURATIONS, "-np", "1", "1", "-npfp", "1")
        references = (bench.preprocessed / "gt_segmentations").iterdir()
        names = sorted(path.name.split(".")[0] for path in references)
        splits_file.write_text(json.dumps(two_folds(names)), encoding="utf-8")
    plans = json.loads(plans_file.read_text(encoding="utf-8"))
    for name, batch in zip(CONFIGURATIONS, args.batch, strict=True):
        configuration = plans["configurations"][name]
        configuration["batch_size"] = batch
        kwargs = configuration["architecture"]["arch_kwargs"]
        kwargs["features_per_stage"] = [args.features * min(2**i, 8) for i in range(kwargs["n_stages"])]
    plans_file.write_text(json.dumps(plans), encoding="utf-8")
    os.environ.update({"nnUNet_n_proc_DA": "0"})


def two_folds(names: list[str]) -> list[dict[str, list[str]]]:
    """Two folds of halves of the sorted names, as neighbours may be two sides of one head."""
    pairs = [(int("0" + re.sub(r"\D", "", name)) + 1) // 2 for name in names]
    middle = next(i for i in range(len(names) // 2, len(names)) if pairs[i] != pairs[i - 1])
    first, second = names[:middle], names[middle:]
    return [{"train": second, "val": first}, {"train": first, "val": second}]


def copy_unseen(source: Path, target: Path, n_skipped: int) -> None:
    """Scans and references of all labelled cases but the first ones."""
    ending = json.loads((source / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True, exist_ok=True)
        for path in sorted((source / folder).glob(f"[!.]*{ending}"))[n_skipped:]:
            shutil.copy(path, target / folder)


def train(bench: Bench, configuration: str, fold: str) -> None:
    """Train one fold unless it is trained, and print its validation Dice."""
    summary = bench.model(configuration) / f"fold_{fold}" / "validation" / "summary.json"
    seconds = ""
    if not summary.is_file():
        recipe = ("-p", PLANS, "-tr", bench.trainer, "-device", bench.device)
        cost = run("train", bench.number, configuration, fold, *recipe, "--npz")
        seconds = f"; {cost.wall_s:.0f} s"
    print(f"{configuration:10} fold {fold}: validation Dice {dice_of(summary)}{seconds}", flush=True)


def dice_of(summary: Path) -> str:
    """Of each label, as nnU-Net writes it."""
    mean = json.loads(summary.read_text(encoding="utf-8"))["mean"]
    return ", ".join(f"label {label} {one['Dice']:.4f}" for label, one in mean.items())


def choose_by_nnunet(bench: Bench) -> Path:
    """Predict the unseen cases as nnU-Net's instructions say; the folder of their evaluation."""
    models = ("-p", PLANS, "-c", *CONFIGURATIONS, "-tr", bench.trainer)
    run("find_best_configuration", bench.number, *models, "-f", *FOLDS, "-np", "1")
    found = nnunets_choice(bench)
    configurations = [model["configuration"] for model in found["selected_model_or_models"]]
    print(f"\nnnUNetv2_find_best_configuration: {' + '.join(configurations)}", flush=True)
    folders = []
    for configuration in configurations:
        folders.append(str(bench.work / "nnunet" / configuration))
        source = ("-d", bench.number, "-i", str(bench.unseen / "imagesTr"), "-o", folders[-1])
        model = ("-f", *FOLDS, "-tr", bench.trainer, "-c", configuration, "-p", PLANS)
        save = ["--save_probabilities"] * (len(configurations) > 1)
        run("predict", *source, *model, *save, "-device", bench.device, "-npp", "1", "-nps", "1")
    raw = folders[0]
    if len(folders) > 1:
        raw = str(bench.work / "nnunet" / "ensemble")
        run("ensemble", "-i", *folders, "-o", raw, "-np", "1")
    steps = ("-pp_pkl_file", found["postprocessing_file"], "-plans_json", found["some_plans_file"])
    processed = bench.work / "nnunet" / "postprocessed"
    run("apply_postprocessing", "-i", raw, "-o", str(processed), *steps, "-np", "1")
    return evaluate(bench, processed)


def nnunets_choice(bench: Bench) -> dict[str, Any]:
    """The best configuration or ensemble that nnU-Net found."""
    file = bench.work / "results" / bench.data / "inference_information.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["best_model_or_ensemble"]
    return found


def choose_by_tuning(bench: Bench) -> Path:
    """Tune, and predict the unseen cases by the plan; the folder of their evaluation."""
    plan, output = bench.work / "tuned" / "plan.yaml", bench.work / "tuned" / "predicted"
    plan.parent.mkdir(exist_ok=True)
    members = [f"{configuration}={bench.model(configuration)}" for configuration in CONFIGURATIONS]
    nnunet_ext("tune", "-d", bench.number, "-m", *members, "-o", str(plan))
    source = ("-i", str(bench.unseen / "imagesTr"), "-o", str(output), "-device", bench.device)
    nnunet_ext("predict", "--plan", str(plan), *source)
    return evaluate(bench, output)


def evaluate(bench: Bench, predicted: Path) -> Path:
    """Score predictions of the unseen cases, into a folder beside them."""
    output = predicted.with_name(f"{predicted.name}_evaluation")
    truth = ("-r", str(bench.unseen / "labelsTr"), "-d", str(bench.dataset_json))
    nnunet_ext("evaluate", "-i", str(predicted), *truth, "-o", str(output))
    return output


def nnunet_ext(*arguments: str) -> None:
    """Run one of our verbs, with its output on the terminal."""
    print(f"\n$ nnunet_ext {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "nnunet_ext", *arguments], check=True)


def tell_promises(bench: Bench, theirs: Path, chosen: Path) -> None:
    """Print the promised and the actual Dice of both choices."""
    report = json.loads((bench.work / "tuned" / "plan_tuning_report.json").read_text(encoding="utf-8"))
    (row,) = [one for one in report["candidates"] if one["name"] == report["recommended"]]
    promised = nnunets_choice(bench)["result_on_crossval_post_pp"]
    print("\nmean Dice over the labels, promised and on the unseen cases:")
    print(f"  nnU-Net          {promised:.4f}             {mean_dice(theirs):.4f}")
    held_out = f"{row['held_out']:.4f} (SE {row['standard_error']:.4f})"
    print(f"  nnunet_ext tune  {held_out} {mean_dice(chosen):.4f}   {row['name']}")


def mean_dice(evaluation: Path) -> float:
    """The mean over the labels."""
    summary = json.loads((evaluation / "summary.json").read_text(encoding="utf-8"))
    return float(summary["foreground_mean"]["Dice"])


if __name__ == "__main__":
    sys.exit(main())
