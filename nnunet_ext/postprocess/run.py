"""Post-process a folder of segmentations."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_ext import __version__
from nnunet_ext.errors import UsageError
from nnunet_ext.files.outputs import check_apart, check_segmentations
from nnunet_ext.files.whole import sha256_of
from nnunet_ext.images.image import as_labels, read_segmentation, write_segmentation
from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.jobs.report import CaseRecord, Report, collect
from nnunet_ext.nnunet.dataset_json import (
    Dataset,
    Labels,
    check_same_labels,
    keep_dataset_json,
    read_dataset,
)
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.postprocess.steps import Step, apply_steps, resolve_steps


@dataclass(frozen=True, kw_only=True)
class CaseJob:
    """A job that writes the segmentation of one case after steps of post-processing.

    Attributes:
        case_id: the case's name.
        dataset: labels and file ending.
        steps: steps of post-processing, in order.
        output: folder of the segmentation to write.
        wide: write uint16, for labels above 255.
    """

    case_id: str
    dataset: Dataset
    steps: tuple[Step, ...]
    output: Path
    wide: bool

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.output / f"{self.case_id}{self.dataset.file_ending}"


@dataclass(frozen=True, kw_only=True)
class PostprocessJob(CaseJob):
    """A job that post-processes one segmentation, `source`."""

    source: Path


def postprocess_case(job: PostprocessJob) -> CaseRecord:
    """Post-process and export one segmentation.

    Raises:
        NnunetExtError: the file is damaged or holds values that are no label.
    """
    started = time.perf_counter()
    array, geometry = read_segmentation(job.source)
    applied = apply_steps(as_labels(array, job.source.name), job.steps, geometry)
    write_segmentation(applied.segmentation, geometry, job.target, wide=job.wide)
    return CaseRecord(
        case_id=job.case_id,
        output=job.target.name,
        inputs={str(job.source): sha256_of(job.source)},
        voxels_changed=applied.n_voxels_changed,
        elapsed_s=round(time.perf_counter() - started, 3),
    )


POSTPROCESS_REPORT = "postprocess_report.json"


def run_postprocess(
    folder: Path,
    output: Path,
    steps: Sequence[Any],
    *,
    dataset: Path,
    wide: bool = False,
    overwrite: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
) -> Report:
    """Apply steps of post-processing to every segmentation of a folder.

    Args:
        folder: one segmentation a case.
        output: folder for the results and `postprocess_report.json`; not the same folder.
        steps: steps in order, as a plan writes them.
        dataset: the dataset.json.
        wide: write uint16, for labels above 255.
        overwrite: replace segmentations in `output` that no run of ours wrote.
        execution: worker processes or a cluster, the shard of the cases, and who is told of each case.

    Returns:
        The report; a case that failed is in it with its reason, and the others are written.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    data = read_dataset(dataset)
    resolved = resolve_steps(steps, data.labels)
    if not resolved:
        raise UsageError("No step of post-processing was given; name at least one.")
    images = find_images(folder, data.file_ending, scans=False)
    check_apart(output, [folder])
    jobs = [
        PostprocessJob(case_id=case_id, dataset=data, steps=resolved, output=output, wide=wide, source=path)
        for case_id, path in images.items()
    ]
    jobs = execution.select(jobs)
    ours = check_segmentations(output, [job.target.name for job in jobs], overwrite=overwrite)
    check_same_labels(dataset, output, overwrite=overwrite)
    report = Report(
        path=output / execution.file_name(POSTPROCESS_REPORT),
        settings=describe_run(dataset, data.labels, resolved) | ours,
    )
    report.begin()
    keep_dataset_json(dataset, output, overwrite=overwrite)
    cases = collect(execution.run(postprocess_case, jobs), len(jobs), [], execution)
    return replace(report, cases=cases).written()


RECORDED_PACKAGES = (
    "numpy",
    "SimpleITK",
    "isal",
    "blosc2",
    "connected-components-3d",
    "fill-voids",
    "nnunetv2",
    "torch",
)


def describe_run(dataset_file: Path, labels: Labels, steps: Sequence[Step]) -> dict[str, Any]:
    """Describe a run for its report: versions, data set and steps."""
    return {
        "versions": {"nnunet_ext": __version__, "python": platform.python_version(), **_versions()},
        "dataset_json": str(dataset_file),
        "dataset_json_sha256": sha256_of(dataset_file),
        "labels": dict(zip(labels.names, labels.values, strict=True)),
        "postprocess": [{"step": type(step).__name__, **asdict(step)} for step in steps],
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found
