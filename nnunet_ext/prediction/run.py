"""Predict many scans in one pass: with every member of a plan, fused, post-processed and exported."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.plan import Plan, describe_plan, resolve_weights
from nnunet_ext.ensemble.plan_file import as_plan
from nnunet_ext.errors import DatasetError, PlanError, UsageError, joined_faults
from nnunet_ext.files.outputs import check_apart, check_segmentations
from nnunet_ext.jobs.cost import describe_cost, measured
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.jobs.pool import Outcome
from nnunet_ext.jobs.report import CaseRecord, Report, collect, sorted_by_case
from nnunet_ext.networks.devices import check_device
from nnunet_ext.nnunet.dataset_json import (
    Dataset,
    check_same_labels,
    keep_dataset_json,
    read_dataset,
    read_dataset_json,
)
from nnunet_ext.nnunet.image_files import channel_fault, find_channels
from nnunet_ext.nnunet.model_folder import ModelFiles, find_model
from nnunet_ext.postprocess.run import describe_run
from nnunet_ext.postprocess.steps import resolve_steps
from nnunet_ext.prediction.records import PredictJob, read_finished
from nnunet_ext.prediction.setup import Setup, make_setup, plan_digest
from nnunet_ext.probabilities.opening import Kind, kind_to_write
from nnunet_ext.submission.submit import check_no_zip_of_a_shard, check_zip, with_zip

PREDICT_REPORT = "predict_report.json"
log = logging.getLogger(__name__)


def run_predict(
    plan: Plan | Path,
    scans: Path,
    output: Path,
    *,
    dataset: Path | None = None,
    device: str | None = None,
    num_gpus: int | None = None,
    save_probabilities: bool = False,
    zip_path: Path | None = None,
    wide: bool = False,
    overwrite: bool = False,
    execution: Execution = IN_THIS_PROCESS,
) -> Report:
    """Predict every scan with all members of a plan, fuse, post-process and export, in one pass.

    A case that an earlier run has written with the same plan, from the same scan, is not predicted again.

    Args:
        plan: a plan of trained models, or the YAML file that holds one.
        scans: folder of the scans, all channels.
        output: folder for one segmentation per case, `predict_report.json` and a record of each case.
        dataset: the dataset.json; that of the first model where it is not given.
        device: `cuda`, `cpu` or `mps`; None is the best there is.
        num_gpus: GPUs to use, with one process each unless `execution` has more; None is one process with one
            GPU, or all GPUs in turn where `execution` has several processes.
        save_probabilities: keep the fused probabilities, in the compact store, or as npz where the variable
            `nnUNet_probabilities` says so.
        zip_path: write all segmentations into this zip, if every case was written.
        wide: write uint16, for labels above 255.
        overwrite: replace segmentations in `output`, and a zip, that no run of ours wrote.
        execution: its worker processes, each of which holds all models and takes whole cases; 0 and None are
            this process alone, in which threads load and export beside the networks. Cases that an earlier
            run has written are not told.

    Returns:
        The report; a case that failed is in it with its reason, and the others are written.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    plan = as_plan(plan)
    check_no_zip_of_a_shard(zip_path, execution.shard)
    found = _find_models(plan)
    dataset_file = dataset or next(iter(found.values())).folder / "dataset.json"
    data = read_dataset(dataset_file)
    _check_agreement(found, data)
    weights = resolve_weights(plan, data.labels)
    execution, device = _on_gpus(execution, device, num_gpus)
    if device is not None and execution.executor is None:  # a cluster's workers have devices of their own
        check_device(device, num_gpus or 1)
    save = _kind_to_save(weights) if save_probabilities else None
    steps = resolve_steps(plan.postprocess, data.labels)
    check_apart(output, [scans, *(files.folder for files in found.values())])
    channels = find_channels(scans, data.file_ending)
    setup = make_setup(
        plan, found, weights, device=device, n_threads=_torch_threads(execution), n_gpus=num_gpus or 0
    )
    digest = plan_digest(setup, data, steps, wide=wide)
    jobs = [
        PredictJob(
            dataset=data,
            steps=steps,
            output=output,
            wide=wide,
            case_id=case,
            files=channels[case],
            setup=setup,
            plan_sha256=digest,
            save=save,
        )
        for case in execution.select(channels)
    ]
    faulty, jobs = _with_all_channels(jobs, next(iter(found.values())))
    ours = check_segmentations(output, [job.target.name for job in jobs], overwrite=overwrite)
    check_same_labels(dataset_file, output, overwrite=overwrite)
    check_zip(zip_path, data, overwrite=overwrite)
    finished, jobs = _without_finished(jobs)
    settings = describe_run(dataset_file, data.labels, steps) | describe_plan(plan, data.labels, weights)
    settings |= {"plan_digest": digest, "device": device, "scans": str(scans)} | ours
    report = Report(path=output / execution.file_name(PREDICT_REPORT), settings=settings)
    report.begin()
    keep_dataset_json(dataset_file, output, overwrite=overwrite)
    with measured() as cost:
        records = collect(_outcomes(jobs, setup, execution), len(jobs), faulty, execution)
    settings |= {"cost": describe_cost(cost, len(jobs))}
    report = replace(report, settings=settings, cases=sorted_by_case([*finished, *records]))
    if zip_path is not None:
        report = with_zip(report, zip_path, data, {case: files[0] for case, files in channels.items()})
    return report.written()


def _find_models(plan: Plan) -> dict[str, ModelFiles]:
    """Find the files of each member's model, in the plan's order."""
    folders = [member.name for member in plan.members if member.model is None]
    if folders:
        raise PlanError(
            f"{', '.join(folders)}: these members are folders of probabilities. `nnunet_ext predict` needs "
            "trained models (`results:`); folders are fused with `nnunet_ext ensemble`."
        )
    return {member.name: find_model(member.model) for member in plan.members if member.model}


def _check_agreement(found: Mapping[str, ModelFiles], data: Dataset) -> None:
    """Refuse models that have other labels, or that read scans in another orientation."""
    faults = []
    readers = {name: str(files.plans().get("image_reader_writer")) for name, files in found.items()}
    for name, files in found.items():
        own = files.dataset()
        if own.labels != data.labels:
            faults.append(f"{name} has the labels {own.labels.describe()}, not {data.labels.describe()}")
        if own.file_ending != data.file_ending:
            faults.append(f"{name} reads {own.file_ending}, not {data.file_ending}")
    if len(set(readers.values())) > 1:
        faults.append(f"they read scans in different ways: {readers}")
    if faults:
        raise PlanError(joined_faults("The models cannot be fused:", faults))


def _kind_to_save(weights: NDArray[np.float64]) -> Kind:
    """Return the kind of file to keep fused probabilities in; refuse weights that differ between labels."""
    kind = kind_to_write(os.environ)
    if (weights != weights[:, :1]).any():
        raise PlanError(
            "--save_probabilities: where labels differ in their weights, fused scores are no probabilities. "
            "Give all labels the same weights, or save no probabilities."
        )
    return kind


def _on_gpus(execution: Execution, device: str | None, num_gpus: int | None) -> tuple[Execution, str | None]:
    """Return how to run, and on what, where a number of GPUs is asked for.

    Raises:
        UsageError: it is not positive, contradicts the device or a cluster, or is more than the processes.
    """
    n_processes = execution.n_processes or 0
    if num_gpus is None:
        return replace(execution, n_processes=n_processes), device
    if num_gpus < 1 or device not in (None, "cuda") or execution.executor is not None:
        raise UsageError(
            f"-num_gpus {num_gpus} needs a number of 1 or more, -device cuda, and no --scheduler, whose "
            "workers have GPUs of their own."
        )
    if 0 < n_processes < num_gpus:
        raise UsageError(
            f"-np {n_processes} leaves GPUs of -num_gpus {num_gpus} without work: leave -np out, or take "
            f"{num_gpus} processes or more."
        )
    return replace(execution, n_processes=n_processes or (num_gpus if num_gpus > 1 else 0)), "cuda"


def _torch_threads(execution: Execution) -> int:
    """Return torch's threads in each of several worker processes; 0, torch's own choice, elsewhere."""
    if execution.executor is not None or not execution.n_workers:
        return 0
    return max(1, (os.cpu_count() or 1) // execution.n_workers)


def _with_all_channels(
    jobs: Sequence[PredictJob], first: ModelFiles
) -> tuple[list[CaseRecord], list[PredictJob]]:
    """Divide jobs into records of failed cases, which lack a channel, and the other jobs."""
    path = first.folder / "dataset.json"
    content = read_dataset_json(path)
    names = content.get("channel_names", content.get("modality"))
    if not isinstance(names, dict):
        raise DatasetError(f"{path} has no entry 'channel_names', which nnU-Net's dataset.json needs.")
    faulty, whole = [], []
    for job in jobs:
        fault = channel_fault(job.case_id, job.files, len(names), job.dataset.file_ending)
        if fault is None:
            whole.append(job)
        else:
            faulty.append(CaseRecord(case_id=job.case_id, reason=fault))
    return faulty, whole


def _without_finished(jobs: Sequence[PredictJob]) -> tuple[list[CaseRecord], list[PredictJob]]:
    """Divide jobs into records of cases that an earlier run has written, and the jobs to do."""
    finished, left = [], []
    for job in jobs:
        record = read_finished(job)
        if record is None:
            left.append(job)
        else:
            finished.append(record)
    if finished:
        log.info("%d of %d cases were written by an earlier run of the same plan", len(finished), len(jobs))
    return finished, left


def _outcomes(
    jobs: Sequence[PredictJob], setup: Setup, execution: Execution
) -> Iterator[Outcome[PredictJob, CaseRecord]]:
    if not jobs:
        return iter(())
    from nnunet_ext.prediction.pipeline import OnePass, predict_case

    if execution.executor is None and execution.n_workers == 0:
        return OnePass(setup).outcomes(jobs)
    return execution.run(predict_case, jobs)
