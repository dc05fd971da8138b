"""`nnunet_ext predict` in one pass against nnU-Net's three commands, on the demo's models.

    python benchmarks/one_pass.py --demo nnunet_ext_demo --repeats 2

Trains the demo's 2d and 3d_fullres, two folds each, unless the folder holds them. Then, in turn:
`nnUNetv2_predict --save_probabilities` for each fold, `nnUNetv2_ensemble` and
`nnUNetv2_apply_postprocessing`; and one `nnunet_ext predict`. The first round is a warm-up in which every
voxel is compared. Prints wall time, CPU time, peak memory of the whole process tree and bytes written, as
medians and ratios. Neither side mirrors unless `--mirroring` says so.
"""

from __future__ import annotations

import argparse
import os
import pickle
import platform
import shutil
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from measure import Cost, ratios, run_measured, summary

from nnunet_ext.demo.dataset import DATASET_ID, FOLDS, PLANS, TRAINER, DemoFolder, cases_to_predict
from nnunet_ext.demo.steps import DemoTraining, model_steps
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery

CONFIGURATIONS = ("2d", "3d_fullres")
KEPT = (1, 2, 3)


@dataclass(frozen=True)
class Place:
    """The folders of the scans and of the outputs of both programs."""

    scans: Path
    work: Path

    @property
    def ours(self) -> Path:
        """The folder of our segmentations."""
        return self.work / "ours"

    @property
    def theirs(self) -> Path:
        """The folder of all files that nnU-Net's commands write."""
        return self.work / "theirs"


def main() -> int:
    """Parse, train, run, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    temporary = Path(tempfile.gettempdir())
    parser.add_argument("--demo", type=Path, default=temporary / "nnunet_ext_demo", help="a demo's folder")
    parser.add_argument("--work", type=Path, default=temporary / "nnunet_ext_one_pass")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-np", type=int, default=2, help="workers of each of nnU-Net's commands")
    parser.add_argument("-device", default="cpu", choices=("cpu", "cuda", "mps"))
    parser.add_argument("--mirroring", action="store_true")
    args = parser.parse_args()
    place = Place(train(args.demo), args.work)
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    sides = {"nnunet_ext predict": ours(place, args), "nnU-Net's commands": theirs(place, args)}
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for repeat in range(args.repeats + 1):
        for name, commands in sides.items():
            shutil.rmtree(place.ours if name.startswith("nnunet_ext") else place.theirs, ignore_errors=True)
            cost = together([run_measured(command) for command in commands])
            if repeat:
                costs[name].append(cost)
        if repeat == 0:
            check_equality(place)
    print(f"{len(cases_to_predict())} cases; equal in every voxel; {args.repeats} runs of each, in turn:")
    for name, of_side in costs.items():
        print(summary(name, of_side))
    mine, its = costs.values()
    print(ratios(mine, its))
    print(f"written: {written(place.ours) / 2**20:.2f} MiB, {written(place.theirs) / 2**20:.2f} MiB")
    return 0


def train(root: Path) -> Path:
    """Train missing models, set nnU-Net's variables, and return the folder of the scans."""
    folder = DemoFolder(root.absolute())
    for step in model_steps(folder, DemoTraining()):
        is_wanted = "lowres" not in step.name and not step.name.startswith("predict")
        if is_wanted and not step.is_done():
            print(step.name, flush=True)
            step.run(lambda n_done: None)
    os.environ.update({name: str(path) for name, path in folder.nnunet.items()})
    os.environ[TRAINER_VARIABLE] = with_discovery()
    return folder.dataset / "imagesTs"


def ours(place: Place, args: argparse.Namespace) -> list[list[str]]:
    """Run one command and measure it."""
    place.work.mkdir(parents=True, exist_ok=True)
    plan = place.work / "plan.yaml"
    members = [
        f"  {name}: {{results: {{d: {DATASET_ID}, tr: {TRAINER}, p: {PLANS}, c: {name}, f: {list(FOLDS)}}}, "
        f"mirroring: {str(args.mirroring).lower()}}}"
        for name in CONFIGURATIONS
    ]
    steps = f"postprocess: [keep_largest: {{labels: {list(KEPT)}}}]"
    plan.write_text("\n".join(["members:", *members, steps, ""]), encoding="utf-8")
    what = ["-i", str(place.scans), "-o", str(place.ours), "--plan", str(plan)]
    return [[sys.executable, "-m", "nnunet_ext", "predict", *what, "-device", args.device]]


def theirs(place: Place, args: argparse.Namespace) -> list[list[str]]:
    """Run nnU-Net's commands: a prediction for each fold, the ensemble, and the post-processing."""
    from nnunetv2.postprocessing.remove_connected_components import (
        remove_all_but_largest_component_from_segmentation as keep,
    )

    steps = place.work / "postprocessing.pkl"
    steps.write_bytes(pickle.dumps(([keep] * len(KEPT), [{"labels_or_regions": label} for label in KEPT])))
    scripts = Path(sysconfig.get_path("scripts"))
    how = ["--save_probabilities", "-device", args.device, "-npp", str(args.np), "-nps", str(args.np)]
    how += [] if args.mirroring else ["--disable_tta"]
    commands, members = [], []
    for name in CONFIGURATIONS:
        for fold in FOLDS:
            members.append(str(place.theirs / f"{name}_{fold}"))
            what = ["-d", str(DATASET_ID), "-c", name, "-f", str(fold), "-tr", TRAINER, "-p", PLANS]
            where = ["-i", str(place.scans), "-o", members[-1]]
            commands.append([str(scripts / "nnUNetv2_predict"), *where, *what, *how])
    fused, final = str(place.theirs / "fused"), str(place.theirs / "final")
    workers = ["-np", str(args.np)]
    commands.append([str(scripts / "nnUNetv2_ensemble"), "-i", *members, "-o", fused, *workers])
    plans = ["-plans_json", f"{members[0]}/plans.json", "-pp_pkl_file", str(steps)]
    commands.append(
        [str(scripts / "nnUNetv2_apply_postprocessing"), "-i", fused, "-o", final, *plans, *workers]
    )
    return commands


def together(costs: list[Cost]) -> Cost:
    """The cost of commands that run one after the other."""
    return Cost(
        sum(cost.wall_s for cost in costs),
        sum(cost.cpu_s for cost in costs),
        max(cost.peak_bytes for cost in costs),
    )


def written(folder: Path) -> int:
    """Bytes of all files in a folder; neither program removes files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_equality(place: Place) -> None:
    """Exit with an error where a voxel differs, or where ours left probabilities."""
    for case in cases_to_predict():
        mine, its = (
            read_segmentation(folder / f"{case}.nii.gz")[0] for folder in (place.ours, place.theirs / "final")
        )
        if not np.array_equal(mine, its):
            raise SystemExit(f"{case}: {np.count_nonzero(mine != its)} voxels differ")
    kept = [path for ending in (".npz", ".b2nd") for path in place.ours.rglob(f"*{ending}")]
    if kept:
        raise SystemExit(f"probabilities were written: {kept}")


if __name__ == "__main__":
    sys.exit(main())
