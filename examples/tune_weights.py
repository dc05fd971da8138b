"""Learn weights per label on the cases of a cross-validation, and read what they are worth.

Each fold's network has predicted the cases that it did not see. From these probabilities `run_tuning` learns
weights and post-processing, and scores each candidate on folds that it was not fitted on: that is the score
to expect of new cases.

    python examples/tune_weights.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import generated_data

from nnunet_ext import Objective, Tuning, plan_of, run_ensemble, run_tuning, write_tuning

TRAINER = "nnUNetTrainerExt__nnUNetPlans"
N_FOLDS = 4


def main(folder: Path) -> None:
    """Tune, read the candidates, write the plan, and fuse by it."""
    raw = make_cross_validation(folder)
    models = {
        configuration: [folder / "nnUNet_results" / raw.name / f"{TRAINER}__{configuration}"]
        for configuration in ("2d", "3d_fullres")
    }

    # The objective is the challenge's: here the mean over labels, where a case without a label counts only if
    # the label was predicted there all the same.
    tuning = run_tuning(
        models,
        raw / "labelsTr",
        dataset=raw / "dataset.json",
        objective=Objective(over="mean", absent="nnunet"),
    )
    print(
        f"{len(tuning.validation.cases)} cases; {tuning.contested_share:.1%} of the voxels depend on weights"
    )
    print_candidates(tuning)

    # The plan, its report and a picture, as `nnunet_ext tune -o plan.yaml` writes them. The plan names the
    # validation folders; new cases are named with the same members.
    write_tuning(tuning, folder / "plan.yaml")
    print((folder / "plan.yaml").read_text(encoding="utf-8"))

    # `plan_of` is the same plan as an object. Fused on the validation cases it gives segmentations to look
    # at; their Dice is that of the weights' own cases, the column `fitted`.
    report = run_ensemble(plan_of(tuning), folder / "validation_fused", overwrite=True)
    print(f"{len(report.cases) - len(report.failed)} of {len(report.cases)} validation cases fused")


def print_candidates(tuning: Tuning) -> None:
    """Print each candidate's score, from simple to complex, and the weights of the one to take."""
    print(f"{'':42} held out      SE  fitted")
    for row in tuning.rows:
        mark = ">" if row is tuning.chosen else " "
        fitted = tuning.objective.score(row.fitted)
        print(f"{mark} {row.heading:40} {row.rated.score:8.4f}  {row.rated.standard_error:.4f}  {fitted:.4f}")

    # A gain that is smaller than its own error may be chance: then the simpler plan is recommended.
    gain = tuning.chosen.rated.score - tuning.best_single.rated.score
    print(f"take: {tuning.chosen.name}, {gain:+.4f} against the best single member")
    members = [member.name for member in tuning.validation.plan.members]
    weights = tuning.chosen.candidate.weights / tuning.chosen.candidate.weights.sum(axis=0)
    for label, column in zip(tuning.dataset.labels.names, weights.T, strict=True):
        print(f"  {label:16}", "  ".join(f"{name} {w:.2f}" for name, w in zip(members, column, strict=True)))


def make_cross_validation(folder: Path) -> Path:
    """Make up the validation folders of two models; returns the raw data set's folder."""
    raw = generated_data.raw_data_set(folder)
    cases = sorted((raw / "labelsTr").glob("*.nii.gz"))
    noises = {
        "2d": {"myocardium": 2.2, "left_ventricle": 2.0, "right_ventricle": 1.6},
        "3d_fullres": {"myocardium": 1.4, "left_ventricle": 1.3, "right_ventricle": 3.5},
    }
    for number, (configuration, noise) in enumerate(noises.items()):
        model = folder / "nnUNet_results" / raw.name / f"{TRAINER}__{configuration}"
        for fold in range(N_FOLDS):
            seed = N_FOLDS * number + fold
            generated_data.predict(cases[fold::N_FOLDS], model / f"fold_{fold}" / "validation", noise, seed)
    return raw


if __name__ == "__main__":  # worker processes import this file on Windows and macOS
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_tune_weights"))
