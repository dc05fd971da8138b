"""Predict scans in two stages: a coarse model draws boxes, a fine model predicts in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_ext.ensemble.plan import Member, Plan, describe_plan, resolve_weights
from nnunet_ext.ensemble.plan_file import as_plan
from nnunet_ext.errors import PlanError, UsageError
from nnunet_ext.files.outputs import check_apart, check_segmentations
from nnunet_ext.jobs.cost import describe_cost, measured
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.jobs.report import Report, sorted_by_case
from nnunet_ext.networks.devices import check_device
from nnunet_ext.nnunet.dataset_json import check_same_labels, keep_dataset_json
from nnunet_ext.nnunet.folders import RESULTS_VARIABLE
from nnunet_ext.nnunet.image_files import find_channels
from nnunet_ext.nnunet.model_folder import (
    ModelFiles,
    TrainedModel,
    find_fold_folders,
    find_model,
    parse_model_name,
)
from nnunet_ext.postprocess.run import describe_run
from nnunet_ext.roi.dataset import (
    MARGIN_MM,
    BoxSettings,
    check_ending,
    settings_of_model,
    values_of_region,
)
from nnunet_ext.roi.stages import COARSE, Progress, TwoStageRun, without_progress

PLAN_ENDINGS = (".yaml", ".yml")
ROI_REPORT = "roi_report.json"


def plan_of_model(text: str, option: str, environment: Mapping[str, str] = os.environ) -> Plan:
    """Read the plan that a user names, or make the plan of one trained model.

    Args:
        text: a YAML plan of trained models; or the folder of a model
            (`Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_lowres`), from here or below `nnUNet_results`,
            of which all folds that are trained to their end are taken; `fold_all` only where it is alone.
        option: the command's option, for messages.
        environment: the variables that name nnU-Net's folders.

    Raises:
        UsageError: there is no such folder, or no trained fold in it.
        PlanError: the file is no plan.
    """
    if text.lower().endswith(PLAN_ENDINGS):
        return as_plan(Path(text))
    below = Path(environment.get(RESULTS_VARIABLE) or ".") / text
    folder = next((path for path in (Path(text), below) if path.is_dir()), None)
    if folder is None:
        raise UsageError(f"{option} {text} is no folder, neither from here nor below nnUNet_results.")
    folder = folder.absolute()
    name = parse_model_name(folder.name)
    if name is None:
        raise UsageError(
            f"{option} {text} is not named like a model, TRAINER__PLANS__CONFIGURATION. Name such a folder, "
            "or a plan that ends in .yaml."
        )
    folds = _trained_folds(folder)
    if not folds:
        raise UsageError(
            f"{option} {folder} has no fold with a {TrainedModel.checkpoint}; train one to its end."
        )
    # The folder of the results in place of a data set's number, so that the model may lie anywhere.
    model = TrainedModel(
        dataset=str(folder.parent),
        configuration=name.configuration,
        trainer=name.trainer,
        plans=name.plans,
        folds=folds,
    )
    return Plan(
        members=(Member(name=folder.name, folders=(), folder_weights=(1.0,) * len(folds), model=model),)
    )


def _trained_folds(folder: Path) -> tuple[str, ...]:
    folds = find_fold_folders(folder).items()
    found = [fold for fold, path in folds if (path / TrainedModel.checkpoint).is_file()]
    return tuple(fold for fold in found if fold != "all") or tuple(found)


def run_roi_predict(
    coarse: Plan,
    fine: Plan,
    scans: Path,
    output: Path,
    *,
    margin_mm: float | None = None,
    roi_labels: Sequence[str] = (),
    n_components: int = 1,
    device: str | None = None,
    wide: bool = False,
    overwrite: bool = False,
    execution: Execution = IN_THIS_PROCESS,
    progress: Progress = without_progress,
) -> Report:
    """Predict every scan in the box that a coarse model draws, and put the result back into the scan.

    Where the result's largest components reach a face of their box beyond which the scan goes on, those faces
    move outwards and the case runs again, three times at most. Where the coarse model finds nothing, the box
    is the whole scan.

    Results of all stages are kept in `output/stages`, the cut scans only while the run lasts. A run that is
    started again predicts nothing twice: it takes what the same models predicted from the same voxels.

    Args:
        coarse: plan of the coarse model, of trained models.
        fine: plan of the fine model; the results have its labels.
        scans: folder of the scans, all channels.
        output: folder for one segmentation per case and `roi_report.json`.
        margin_mm: margin around the region; None is the one of the fine model's training data, or 20.
        roi_labels: names of the coarse model's labels that make the region; none are all.
        n_components: how many of the largest components count, of the region and of the result.
        device: `cuda`, `cpu` or `mps`; None is the best there is.
        wide: write uint16, for labels above 255.
        overwrite: replace segmentations in `output` that no run of ours wrote.
        execution: its worker processes, each of which holds all models of a stage; 0 and None are this
            process alone. No shard.
        progress: called with each stage's name; gives what is called with each case that ends in the stage,
            in place of `execution.on_case`.

    Returns:
        The report, whose cases are `RoiCase`; one that failed is in it with its reason.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    execution.check_no_shard("roi predict")
    coarse_model, fine_model = _check_models(coarse, fine)
    dataset_file = fine_model.folder / "dataset.json"
    stages = TwoStageRun(
        output=output,
        dataset=fine_model.dataset(),
        settings=_settings(margin_mm, roi_labels, n_components, fine_model),
        device=device,
        execution=execution,
        wide=wide,
        progress=progress,
    )
    coarse_labels, ending = coarse_model.dataset().labels, stages.dataset.file_ending
    region = values_of_region(coarse_labels.covered_by_name, stages.settings.roi_labels)
    check_ending(ending)
    check_apart(output, [scans])
    if device is not None:
        check_device(device)
    channels = find_channels(scans, ending)
    ours = check_segmentations(output, [f"{case}{ending}" for case in channels], overwrite=overwrite)
    check_same_labels(dataset_file, output, overwrite=overwrite)
    described = describe_run(dataset_file, stages.dataset.labels, ()) | {
        "coarse": describe_plan(coarse, coarse_labels, resolve_weights(coarse, coarse_labels)),
        "fine": describe_plan(fine, stages.dataset.labels, resolve_weights(fine, stages.dataset.labels)),
        "boxes": stages.settings.as_json(),
        "scans": str(scans),
        "device": device,
    }
    report = Report(path=output / ROI_REPORT, settings=described | ours)
    report.begin()
    keep_dataset_json(dataset_file, output, overwrite=overwrite)
    with measured() as cost:
        cases = stages.draw_boxes(coarse, scans, channels, region)
        stages.predict_in_boxes(fine, cases)
        stages.paste_results(cases)
    costs = {"cost": describe_cost(cost, stages.n_predicted), "stages": stages.costs}
    records = sorted_by_case(case.record() for case in cases)
    report = replace(report, settings={**report.settings, **costs}, cases=records).written()
    stages.remove_cut_scans()
    return report


def _check_models(coarse: Plan, fine: Plan) -> tuple[ModelFiles, ModelFiles]:
    """Find all models; return the first of each stage, which read scans of the same file ending."""
    firsts = []
    for stage, plan in ((COARSE, coarse), ("fine", fine)):
        without = [member.name for member in plan.members if member.model is None]
        if without:
            raise PlanError(
                f"--{stage}: {', '.join(without)} are folders of probabilities; trained models (`results:`) "
                "are needed."
            )
        found = [find_model(member.model) for member in plan.members if member.model]  # all models must exist
        firsts.append(found[0])
    endings = [model.dataset().file_ending for model in firsts]
    if endings[0] != endings[1]:
        raise PlanError(
            f"the coarse model reads {endings[0]}, the fine one {endings[1]}: not the same scans."
        )
    return firsts[0], firsts[1]


def _settings(
    margin_mm: float | None, roi_labels: Sequence[str], n_components: int, fine: ModelFiles
) -> BoxSettings:
    trained = settings_of_model(fine.folder)
    if margin_mm is None:
        margin_mm = trained.margin_mm if trained else MARGIN_MM
    return BoxSettings(margin_mm, tuple(roi_labels), n_components)
