"""Fuse the outputs of folds with weights per label, and pack a verified zip.

Two configurations have predicted the test scans, the 2d one with two folds. The 3d one is better at all
labels but the right ventricle, which it hardly saw. So the plan trusts it twice as much, and for that one
label not at all.

    python examples/fuse_folds.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import generated_data

from nnunet_ext import (
    find_images,
    read_dataset,
    read_plan,
    run_ensemble,
    run_evaluation,
    verify_archive,
)

PLAN = """\
members:
  2d: [predicted/2d_fold_0, predicted/2d_fold_1]
  3d_fullres: predicted/3d_fold_0
weights:
  default: {2d: 1, 3d_fullres: 2}
  labels:
    right_ventricle: {2d: 1, 3d_fullres: 0}
postprocess:
  - keep_largest: {labels: [myocardium, left_ventricle]}
"""


def main(folder: Path) -> None:
    """Fuse, verify, and compare with equal weights."""
    raw = make_predictions(folder)

    # A plan is a YAML file beside the folders that it names. `read_plan` names all its faults at once, so
    # that nothing is found out after an hour of fusing.
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    plan = read_plan(folder / "plan.yaml")
    print("members:", ", ".join(f"{member.name} ({len(member.folders)} folders)" for member in plan.members))

    # With the scans named, every case that lacks a prediction is told, and each segmentation gets its scan's
    # very geometry. The zip appears only if all cases were fused and nothing in it would be refused.
    report = run_ensemble(
        plan,
        folder / "fused",
        references=raw / "imagesTs",
        zip_path=folder / "submission.zip",
        overwrite=True,
    )
    for case in report.cases:
        print(f"{case.case_id}: {case.reason or f'fused in {case.elapsed_s:.2f} s'}")
    if not report.ok:
        sys.exit(report.zip_fault or f"{len(report.failed)} cases failed; the zip was not written")

    # The same look at any zip, wherever it comes from.
    dataset = read_dataset(folder / "fused" / "dataset.json")
    verification = verify_archive(
        folder / "submission.zip", dataset, find_images(raw / "imagesTs", dataset.file_ending)
    )
    print(f"{verification.archive.name}: {verification.n_cases} cases, {len(verification.findings)} faults")

    # Were the weights worth it? Here the references of the test scans are known.
    equal = PLAN[: PLAN.index("weights:")] + PLAN[PLAN.index("postprocess:") :]
    (folder / "equal.yaml").write_text(equal, encoding="utf-8")
    run_ensemble(folder / "equal.yaml", folder / "fused_equal", references=raw / "imagesTs", overwrite=True)
    for name in ("fused_equal", "fused"):
        scores = run_evaluation(
            folder / name, raw / "labelsTs", folder / f"scores_{name}", dataset=raw / "dataset.json"
        )
        dice = {label.name: label.means["dice"].mean for label in scores.labels}
        print(f"{name:12}", "  ".join(f"{label} {mean:.3f}" for label, mean in dice.items()))


def make_predictions(folder: Path) -> Path:
    """Make up what `nnUNetv2_predict --save_probabilities` would write; returns the raw data set's folder."""
    raw = generated_data.raw_data_set(folder)
    scans = sorted((raw / "labelsTs").glob("*.nii.gz"))
    noise_2d = {"myocardium": 2.2, "left_ventricle": 2.0, "right_ventricle": 1.6}
    noise_3d = {"myocardium": 1.4, "left_ventricle": 1.3, "right_ventricle": 3.5}
    for fold in (0, 1):
        generated_data.predict(scans, folder / "predicted" / f"2d_fold_{fold}", noise_2d, seed=fold)
    generated_data.predict(scans, folder / "predicted" / "3d_fold_0", noise_3d, seed=2)
    return raw


if __name__ == "__main__":  # worker processes import this file on Windows and macOS
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_fuse_folds"))
