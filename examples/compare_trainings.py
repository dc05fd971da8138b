"""Look at trainings: how they stand, what an early stop would have cost, which model is better, and a report.

A training of 250 epochs and one that patience ended have each predicted the eight validation cases of their
fold. Their logs and segmentations are all that is read.

    python examples/compare_trainings.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import generated_data

from nnunet_ext import (
    EarlyStopping,
    ReportRequest,
    Run,
    earned_average,
    read_runs,
    run_comparison,
    run_evaluation,
    write_report,
)

SHORT, LONG = "nnUNetTrainerEarlyStopping__nnUNetPlans__2d", "nnUNetTrainer_250epochs__nnUNetPlans__2d"


def main(folder: Path) -> None:
    """Read the runs, judge patience, compare the models, and write the report."""
    raw = make_trainings(folder)
    results = folder / "nnUNet_results"

    # Every training below a folder, whoever trained it: nnU-Net's logs are enough.
    for run in read_runs(results):
        print_run(run)
        print_patience(run, patience=20)

    # Both folds have the same validation cases, and nnU-Net has written `summary.json` of each. Differences
    # are taken case by case: that is much sharper than two means with their intervals.
    short, long = (results / raw.name / model / "fold_0" / "validation" for model in (SHORT, LONG))
    comparison = run_comparison(short, long, dataset=raw / "dataset.json")
    print(f"{LONG} less {SHORT}, {comparison.n_cases} cases:")
    for label, one in comparison.labels.items():
        gap = one.difference
        if gap.mean is None:
            print(f"  {label:16} in no case")
            continue
        print(
            f"  {label:16} {gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}), "
            f"better in {one.n_better} of {one.n_holding} cases"
        )

    # The page that `nnunet_ext report` writes. nnU-Net's folders are named here instead of by variables.
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    done = write_report(
        ReportRequest(output=folder / "report", dataset=raw.name),
        environment={name: str(folder / name) for name in names},
    )
    print(f"report: {done.files.html}")
    for fault in done.faults:
        print("not shown:", fault)


def print_run(run: Run) -> None:
    """Print how one fold stands."""
    best = run.history.best_average
    print(f"{run.folder.trainer} {run.folder.configuration} fold {run.folder.fold}: {run.state}")
    print(
        f"  {run.n_done} of {run.planned or '?'} epochs, {run.history.total_s / 3600:.1f} h, best {best:.3f}"
    )
    for label in run.history.lost_labels():
        print(f"  {label} was learnt and lost: its best weights may be worth keeping (-label_bests)")


def print_patience(run: Run, patience: int) -> None:
    """Print where patience would have ended a training, and the Dice that it would have cost."""
    dice = [epoch.dice_mean or float("nan") for epoch in run.history.epochs]
    averages = earned_average(dice)  # by which the trainers of this package judge
    policy = EarlyStopping(patience=patience)
    stop = next((n for n in range(1, len(averages) + 1) if policy.judge(averages[:n]).stop), None)
    if stop is None:
        print(f"  patience {patience} would have let it train on")
        return
    cost = max(averages) - max(averages[:stop])
    saved = run.history.total_s * (1 - stop / len(averages)) / 3600
    print(f"  patience {patience} would have ended it after {stop} epochs: {cost:.3f} Dice for {saved:.1f} h")


def make_trainings(folder: Path) -> Path:
    """Make up two trainings with their validations; returns the raw data set's folder."""
    raw = generated_data.raw_data_set(folder)
    cases = sorted((raw / "labelsTr").glob("*.nii.gz"))[:8]
    labels = ("myocardium", "left_ventricle", "right_ventricle")
    for number, (model, n_epochs, dice, noise) in enumerate(
        [(SHORT, 90, (0.80, 0.88, 0.62), (1.8, 1.6, 2.4)), (LONG, 250, (0.83, 0.90, 0.70), (1.5, 1.4, 2.0))]
    ):
        path = folder / "nnUNet_results" / raw.name / model
        best = dict(zip(labels, dice, strict=True))
        fold = generated_data.write_training(path, 0, best, n_epochs, planned=250, seed=number)
        noise_of = dict(zip(labels, noise, strict=True))
        generated_data.validate(cases, fold / "validation", noise_of, seed=number)
        # `summary.json` in nnU-Net's form.
        run_evaluation(
            fold / "validation", raw / "labelsTr", fold / "validation", dataset=raw / "dataset.json"
        )
    return raw


if __name__ == "__main__":  # worker processes import this file on Windows and macOS
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_compare_trainings"))
