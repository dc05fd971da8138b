"""The record of a run: what was read, done and written, in a file beside the outputs."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext import __version__
from nnunet_ext.ensemble.plan import Plan
from nnunet_ext.files import sha256_of, write_json
from nnunet_ext.labels import Labels
from nnunet_ext.postprocess.steps import Step
from nnunet_ext.workflow.cases import CaseRecord

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


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes:
        path: the report's file, beside the outputs.
        settings: what was asked for and with which versions.
        cases: one record a case, sorted by name.
        warnings: what a user should know although the run went on.
        zip_path: the submission; None where none was asked for, or where it could not be written.
        zip_fault: why the submission was not written.
        report_fault: why the report's file was not written.
    """

    path: Path
    settings: Mapping[str, Any]
    cases: tuple[CaseRecord, ...]
    warnings: tuple[str, ...] = ()
    zip_path: Path | None = None
    zip_fault: str | None = None
    report_fault: str | None = None

    @property
    def failed(self) -> tuple[CaseRecord, ...]:
        """The cases without a segmentation."""
        return tuple(case for case in self.cases if case.reason is not None)

    @property
    def ok(self) -> bool:
        """Whether every case, the report, and the zip if there was to be one, was written."""
        return not self.failed and self.zip_fault is None and self.report_fault is None

    def begin(self) -> None:
        """Write what is asked for before the first case: a killed run leaves it with `finished` false.

        Raises:
            OSError: it cannot be written.
        """
        self._write(finished=False)

    def written(self) -> Report:
        """Write the report's file; where that fails, the report holds why, and all that was done."""
        try:
            self._write(finished=True)
        except OSError as error:
            return replace(self, report_fault=f"{self.path} was not written: {error.strerror or error}")
        return self

    def _write(self, *, finished: bool) -> None:
        content = {
            **self.settings,
            "finished": finished,
            "warnings": self.warnings,
            "zip": str(self.zip_path) if self.zip_path else None,
            "zip_fault": self.zip_fault,
            "cases": [asdict(case) for case in self.cases],
        }
        write_json(content, self.path)


def describe_run(dataset_file: Path, labels: Labels, steps: Sequence[Step]) -> dict[str, Any]:
    """Versions, data set and steps of a run."""
    return {
        "versions": {"nnunet_ext": __version__, "python": platform.python_version(), **_versions()},
        "dataset_json": str(dataset_file),
        "dataset_json_sha256": sha256_of(dataset_file),
        "labels": dict(zip(labels.names, labels.values, strict=True)),
        "postprocess": [{"step": type(step).__name__, **asdict(step)} for step in steps],
    }


def describe_plan(plan: Plan, labels: Labels, weights: NDArray[np.float64]) -> dict[str, Any]:
    """A plan's members with their folders or models, and each label's weights `(M, L)` as resolved."""
    names = [member.name for member in plan.members]
    return {
        "plan": str(plan.file) if plan.file else None,
        "plan_sha256": sha256_of(plan.file) if plan.file else None,
        "members": {
            member.name: {
                "folders": [str(folder) for folder in member.folders],
                "folder_weights": member.folder_weights,
                "model": asdict(member.model) if member.model else None,
            }
            for member in plan.members
        },
        "weights": {
            label: dict(zip(names, column.tolist(), strict=True))
            for label, column in zip(labels.names, weights.T, strict=True)
        },
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found
