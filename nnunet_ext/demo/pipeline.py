"""The demo verb: data, plans, trainings, predictions, ensemble, submission, and the Dice of the result."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.demo.dataset import CONFIGURATIONS, FILE_ENDING, FOLDS, N_TEST, DemoFolder, cases_to_predict
from nnunet_ext.demo.progress import DemoProgress, OnCount
from nnunet_ext.demo.steps import DemoTraining, Step, model_steps
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.errors import StepFailed, UsageError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.images.image import read_segmentation, read_voxels
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.metrics.dice import DiceSummary, Overlap, summarize
from nnunet_ext.metrics.overlap import case_dice
from nnunet_ext.networks.devices import check_device
from nnunet_ext.nnunet.dataset_json import Labels, read_dataset
from nnunet_ext.nnunet.image_files import scan_name
from nnunet_ext.report.overlays import OverlayCase, draw_overlays

ENSEMBLE = "ensemble"
# The finest scale counts double, except for the right ventricle, which few training cases hold.
WEIGHTS = """\
weights:
  default: {2d: 1, 3d_lowres: 1, 3d_fullres: 2}
  labels:
    right_ventricle: {2d: 1, 3d_lowres: 0.5, 3d_fullres: 1}
"""
POSTPROCESS = """\
postprocess:
  - keep_largest: {labels: [myocardium, left_ventricle, right_ventricle]}
  - fill_holes: {labels: [left_ventricle]}
"""


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """The results of the demo.

    Attributes:
        dice: Dice of each label over the test cases, by member and for `ensemble`.
        zip_path: the verified submission.
        picture: the ensemble's segmentations and the references, drawn on the scans.
        reused: names of the steps that an earlier run had finished.
        elapsed_s: seconds of this run.
    """

    dice: dict[str, dict[str, DiceSummary]]
    zip_path: Path
    picture: Path
    reused: tuple[str, ...]
    elapsed_s: float


def run_demo(
    root: Path, training: DemoTraining | None = None, progress: DemoProgress | None = None
) -> DemoReport:
    """Run the demo, or the steps that an earlier run in the same folder left to do.

    Args:
        root: the folder of the demo; no other folder is read or written.
        training: length and device of the trainings; finished steps stay as they are.
        progress: shows the progress; None shows none.

    Raises:
        UsageError: the folder holds other files, or torch has no such device.
        StepFailed: a command failed; the message names it and quotes its last lines.
    """
    started = time.perf_counter()
    folder = DemoFolder(root)
    progress, training = progress or DemoProgress(), training or DemoTraining()
    folder.check_free()
    if training.device is not None:
        check_device(training.device)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{root} cannot be created: {error.strerror}. Choose another folder with -o."
        ) from None
    steps = [*model_steps(folder, training), _ensemble_step(folder)]
    with progress.begin(len(steps)):
        reused = tuple(step.name for step in steps if _run_step(step, progress))
    dice = {name: summarize(_compare(folder, name).values()) for name in (*CONFIGURATIONS, ENSEMBLE)}
    _draw(folder)
    return DemoReport(
        dice=dice,
        zip_path=folder.zip_path,
        picture=folder.picture,
        reused=reused,
        elapsed_s=time.perf_counter() - started,
    )


def _run_step(step: Step, progress: DemoProgress) -> bool:
    """Run a step unless it is done; returns whether it was done before."""
    if step.is_done():
        progress.reused(step.name)
        return True
    with progress.step(step.name, step.n_units) as on_count:
        step.run(on_count)
    return False


def _write_plans(folder: DemoFolder) -> None:
    """Write the plan of the ensemble, and one for each member by itself with the same post-processing.

    Existing plans are kept, so that a user may edit one and run the demo again.
    """
    plans = {name: _members([name]) + POSTPROCESS for name in CONFIGURATIONS}
    plans[ENSEMBLE] = _members(CONFIGURATIONS) + WEIGHTS + POSTPROCESS
    for name, text in plans.items():
        if not folder.plan(name).exists():
            with written_whole(folder.plan(name)) as part:
                part.write_text(text, encoding="utf-8")


def _members(names: Iterable[str]) -> str:
    lines = [
        f"  {name}: [{', '.join(f'predictions/{name}/fold_{fold}' for fold in FOLDS)}]" for name in names
    ]
    return "\n".join(["members:", *lines, ""])


def _ensemble_step(folder: DemoFolder) -> Step:
    """The step that carries out all four plans; it takes seconds and is run each time."""
    return Step(
        ENSEMBLE,
        (len(CONFIGURATIONS) + 1) * N_TEST,
        lambda: False,
        lambda on_count: _run_ensembles(folder, on_count),
    )


def _run_ensembles(folder: DemoFolder, on_count: OnCount) -> None:
    _write_plans(folder)
    for i, name in enumerate((*CONFIGURATIONS, ENSEMBLE)):
        report = run_ensemble(
            folder.plan(name),
            folder.segmentations(name),
            dataset=folder.dataset / "dataset.json",
            references=folder.dataset / "imagesTs",
            zip_path=folder.zip_path if name == ENSEMBLE else None,
            execution=IN_THIS_PROCESS,
        )
        if not report.ok:
            reasons = [f"{case.case_id}: {case.reason}" for case in report.failed] + [report.zip_fault or ""]
            raise StepFailed(f"The plan {folder.plan(name)} was not carried out:\n" + "\n".join(reasons))
        on_count((i + 1) * N_TEST)


def _labels(folder: DemoFolder) -> Labels:
    return read_dataset(folder.dataset / "dataset.json").labels


def _compare(folder: DemoFolder, name: str) -> dict[str, dict[str, Overlap]]:
    """The overlap of each test case with its reference, by label."""
    labels, found = _labels(folder), {}
    for case in cases_to_predict():
        prediction, _ = read_segmentation(folder.segmentations(name) / f"{case}{FILE_ENDING}")
        reference, _ = read_segmentation(folder.dataset / "labelsTs" / f"{case}{FILE_ENDING}")
        found[case] = case_dice(prediction, reference, labels)
    return found


def _draw(folder: DemoFolder) -> None:
    labels = _labels(folder)
    cases = [_overlay_case(folder, case, dice) for case, dice in _compare(folder, ENSEMBLE).items()]
    draw_overlays(cases, labels.covered_by_name, folder.picture)


def _overlay_case(folder: DemoFolder, case: str, dice: dict[str, Overlap]) -> OverlayCase:
    scan, geometry = read_voxels(folder.dataset / "imagesTs" / scan_name(case, 0, FILE_ENDING))
    prediction, _ = read_segmentation(folder.segmentations(ENSEMBLE) / f"{case}{FILE_ENDING}")
    reference, _ = read_segmentation(folder.dataset / "labelsTs" / f"{case}{FILE_ENDING}")
    z, y, x = geometry.spacing
    return OverlayCase(
        title=f"{case}    {_dice_words(dice)}",
        scan=scan,
        segmentation=prediction,
        spacing_mm=(z, y, x),
        reference=reference,
    )


def _dice_words(dice: dict[str, Overlap]) -> str:
    return "   ".join(f"{name.replace('_', ' ')} {_overlap_words(one)}" for name, one in dice.items())


def _overlap_words(one: Overlap) -> str:
    if one.dice is not None:
        return f"{one.dice:.2f}"
    return "false alarm" if one.is_false_alarm else "correctly absent"
