"""The jobs of a prediction run, and the record of each case by which a later run knows what is finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DamagedFile
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.whole import sha256_of, write_json
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.postprocess.run import CaseJob
from nnunet_ext.prediction.setup import Setup
from nnunet_ext.probabilities.opening import NPZ, STORE, Kind

RECORDS = "predict_records"


@dataclass(frozen=True, kw_only=True)
class PredictJob(CaseJob):
    """A job that predicts one case.

    Attributes:
        files: files of its scan, one per channel.
        setup: the models.
        plan_sha256: the `plan_digest` of the run.
        save: the kind of file in which fused probabilities are kept; None keeps none.
    """

    files: tuple[Path, ...]
    setup: Setup
    plan_sha256: str
    save: Kind | None = None

    @property
    def probabilities(self) -> Path:
        """The file of the fused probabilities."""
        return self.output / f"{self.case_id}{STORE if self.save == 'store' else NPZ}"

    @property
    def record(self) -> Path:
        """The file of the case's record."""
        return self.output / RECORDS / f"{self.case_id}.json"


def write_record(job: PredictJob, record: CaseRecord) -> None:
    """Record that a case was written, and with which plan, as the last step of the case."""
    content = {
        "plan_sha256": job.plan_sha256,
        "output_sha256": sha256_of(job.target),
        "probabilities_sha256": {job.probabilities.name: sha256_of(job.probabilities)} if job.save else {},
        "case": asdict(record),
    }
    write_json(content, job.record)


def read_finished(job: PredictJob) -> CaseRecord | None:
    """Read the record of a case that an earlier run has written with the same plan from the same scan.

    None where there is no such record, or where the case's files have changed since.
    """
    try:
        content = read_json(job.record)
        record = _as_record(content["case"])
        kept = content["probabilities_sha256"]
        is_unchanged = (
            content["plan_sha256"] == job.plan_sha256
            and content["output_sha256"] == sha256_of(job.target)
            and sorted(record.inputs.values()) == sorted(sha256_of(path) for path in job.files)
            and (job.save is None or kept[job.probabilities.name] == sha256_of(job.probabilities))
        )
    except (OSError, DamagedFile, ValueError, KeyError, TypeError):
        return None
    return record if is_unchanged else None


def _as_record(content: Mapping[str, Any]) -> CaseRecord:
    several = {name: tuple(content[name]) for name in ("voxels_changed", "notes")}
    return CaseRecord(**{**content, **several})
