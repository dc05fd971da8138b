from dataclasses import replace
from pathlib import Path

import pytest
from factories import labels

from nnunet_ext.files.whole import sha256_of
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.prediction.records import PredictJob, read_finished, write_record
from nnunet_ext.prediction.setup import Setup

SETUP = Setup(models=(), previous=(), weights=(), fold_shares=(), checkpoint_sha256=())


@pytest.fixture
def job(tmp_path):
    """A case whose segmentation, probabilities and record an earlier run has written."""
    scan = tmp_path / "a_0000.nii.gz"
    scan.write_text("scan")
    job = PredictJob(
        case_id="a",
        dataset=Dataset(labels({"background": 0, "liver": 1}), ".nii.gz"),
        steps=(),
        output=tmp_path / "out",
        wide=False,
        files=(scan,),
        setup=SETUP,
        plan_sha256="plan",
        save="store",
    )
    job.output.mkdir()
    job.target.write_text("segmentation")
    job.probabilities.write_text("probabilities")
    record = CaseRecord(
        case_id="a", output=job.target.name, inputs={str(scan): sha256_of(scan)}, notes=("odd",)
    )
    write_record(job, record)
    return job


def test_a_finished_case_is_known_by_its_record(job):
    record = read_finished(job)
    assert record is not None and record.notes == ("odd",)
    assert job.probabilities.name == "a.b2nd" and replace(job, save="npz").probabilities.name == "a.npz"


@pytest.mark.parametrize("name", ["a_0000.nii.gz", "out/a.nii.gz", "out/a.b2nd"])
def test_a_case_of_which_a_file_changed_is_to_do(job, tmp_path, name):
    Path(tmp_path / name).write_text("changed")
    assert read_finished(job) is None


def test_a_case_of_another_plan_or_without_a_readable_record_is_to_do(job):
    assert read_finished(replace(job, plan_sha256="another")) is None
    job.record.write_text("{")
    assert read_finished(job) is None
    job.record.unlink()
    assert read_finished(job) is None


def test_probabilities_that_are_not_to_be_kept_need_not_be_there(job):
    job.probabilities.unlink()
    assert read_finished(job) is None
    assert read_finished(replace(job, save=None)) is not None
