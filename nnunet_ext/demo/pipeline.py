"""The whole demo: data, plans, trainings, predictions, ensemble, submission, and what it is worth."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.demo.dataset import CONFIGURATIONS, FILE_ENDING, FOLDS, N_TEST, DemoFolder, cases_to_predict
from nnunet_ext.demo.progress import OnCount, Teller
from nnunet_ext.demo.steps import Step, Training, model_steps
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.errors import StepFailed, UsageError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.images.image import read_segmentation, read_voxels
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.metrics.dice import DiceSummary, Overlap, summarize
from nnunet_ext.metrics.overlap import case_dice
from nnunet_ext.networks.devices import check_device
from nnunet_ext.nnunet.dataset_json import Labels, read_dataset
from nnunet_ext.nnunet.raw import scan_name
from nnunet_ext.report.overlays import OverlayCase, draw_overlays

ENSEMBLE = "ensemble"
# The finest scale counts double, but for the right ventricle, which few training cases show.
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


@dataclass(frozen=True)
class DemoReport:
    """What the demo gave.

    Attributes:
        dice: by member and `ensemble`, each label's Dice over the test cases.
        zip_path: the verified submission.
        picture: the ensemble's segmentations on the scans, beside the references.
        reused: names of the steps that an earlier run had finished.
        elapsed_s: of this run.
    """

    dice: dict[str, dict[str, DiceSummary]]
    zip_path: Path
    picture: Path
    reused: tuple[str, ...]
    elapsed_s: float


def run_demo(root: Path, training: Training | None = None, teller: Teller | None = None) -> DemoReport:
    """Run the demo, or what an earlier run in the same folder left to do.

    Args:
        root: folder for everything; nothing outside of it is read or written.
        training: how long and on what to train; steps that are finished stay as they are.
        teller: hears how far it is.

    Raises:
        UsageError: the folder holds other things, or torch has no such device.
        StepFailed: a command failed; says which, and what it printed last.
    """
    started = time.perf_counter()
    folder, teller, training = DemoFolder(root), teller or Teller(), training or Training()
    folder.check_free()
    if training.device is not None:
        check_device(training.device)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{root} cannot be made: {error.strerror}. Choose another folder with -o.") from None
    steps = [*model_steps(folder, training), _ensemble_step(folder)]
    with teller.begin(len(steps)):
        reused = tuple(step.name for step in steps if _is_reused(step, teller))
    dice = {name: summarize(_compare(folder, name).values()) for name in (*CONFIGURATIONS, ENSEMBLE)}
    _draw(folder)
    return DemoReport(dice, folder.zip_path, folder.picture, reused, time.perf_counter() - started)


def _is_reused(step: Step, teller: Teller) -> bool:
    """Run a step unless it is done."""
    if step.is_done():
        teller.reused(step.name)
        return True
    with teller.step(step.name, step.n_units) as on_count:
        step.run(on_count)
    return False


def _write_plans(folder: DemoFolder) -> None:
    """The plan of the ensemble, and one for each member alone with the same post-processing.

    A plan that is there stays: whoever edits it and runs the demo again sees what that changes.
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
    """All four plans; seconds long, so it is always run."""
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
    """Each test case's Dice against its reference."""
    labels, found = _labels(folder), {}
    for case in cases_to_predict():
        prediction, _ = read_segmentation(folder.segmentations(name) / f"{case}{FILE_ENDING}")
        reference, _ = read_segmentation(folder.dataset / "labelsTs" / f"{case}{FILE_ENDING}")
        found[case] = case_dice(prediction, reference, labels)
    return found


def _draw(folder: DemoFolder) -> None:
    labels = _labels(folder)
    cases = [_drawn(folder, case, dice) for case, dice in _compare(folder, ENSEMBLE).items()]
    draw_overlays(cases, labels.covered_by_name, folder.picture)


def _drawn(folder: DemoFolder, case: str, dice: dict[str, Overlap]) -> OverlayCase:
    scan, geometry = read_voxels(folder.dataset / "imagesTs" / scan_name(case, 0, FILE_ENDING))
    prediction, _ = read_segmentation(folder.segmentations(ENSEMBLE) / f"{case}{FILE_ENDING}")
    reference, _ = read_segmentation(folder.dataset / "labelsTs" / f"{case}{FILE_ENDING}")
    z, y, x = geometry.spacing
    return OverlayCase(f"{case}    {_in_words(dice)}", scan, prediction, (z, y, x), reference)


def _in_words(dice: dict[str, Overlap]) -> str:
    return "   ".join(f"{name.replace('_', ' ')} {_verdict(one)}" for name, one in dice.items())


def _verdict(one: Overlap) -> str:
    if one.dice is not None:
        return f"{one.dice:.2f}"
    return "false alarm" if one.is_false_alarm else "rightly absent"
