"""Cases on the workers of a Dask cluster, of which one dies."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
from factories import softmax, write_dataset_json, write_prediction
from jobs import behave

from nnunet_ext.cli.main import main
from nnunet_ext.ensemble.plan import equal_plan
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.errors import UsageError
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.jobs.pool import run_jobs_on

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

from nnunet_ext.jobs.execution import connected  # noqa: E402

CASES = [f"case_{number:02}" for number in range(12)]
SHAPE = (6, 64, 48)


@pytest.fixture
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as local:
        yield local


@pytest.fixture
def members(tmp_path):
    folders = {}
    for m in range(2):
        write_dataset_json(tmp_path / f"m{m}")
        for c, case in enumerate(CASES):
            write_prediction(tmp_path / f"m{m}", case, softmax(100 * m + c, shape=SHAPE))
        folders[f"m{m}"] = [tmp_path / f"m{m}"]
    return folders


def assert_same(ours, theirs):
    for case in CASES:
        one, other = (read_segmentation(folder / f"{case}.nii.gz")[0] for folder in (ours, theirs))
        np.testing.assert_array_equal(one, other)


def test_a_worker_killed_in_the_middle_costs_a_retry_and_no_case(tmp_path, members, cluster):
    assert run_ensemble(equal_plan(members), tmp_path / "alone", execution=IN_THIS_PROCESS).ok
    victim = psutil.Process(next(iter(cluster.workers.values())).pid)
    killed = []

    def kill_one(case_id, reason, n_cases):
        if not killed:
            victim.kill()
            killed.append(case_id)

    with connected(cluster.scheduler_address) as executor:
        report = run_ensemble(
            equal_plan(members), tmp_path / "out", execution=Execution(executor=executor, on_case=kill_one)
        )
    assert killed and report.ok, [case.reason for case in report.failed]
    assert [case.case_id for case in report.cases] == CASES
    assert_same(tmp_path / "out", tmp_path / "alone")


def test_a_job_whose_worker_dies_is_given_to_another(tmp_path, cluster):
    jobs = ["a", f"dies once {tmp_path / 'marker'}", "bad", "b"]
    with connected(cluster.scheduler_address) as executor:
        outcomes = {outcome.job: outcome for outcome in run_jobs_on(executor, behave, jobs)}
    assert [outcomes[job].result for job in jobs] == ["A", jobs[1].upper(), None, "B"]
    assert (tmp_path / "marker").exists() and outcomes["bad"].reason == "ProbabilitiesError: bad bytes"


def test_every_verb_takes_the_scheduler_and_relative_paths(tmp_path, members, cluster, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    here = ["--scheduler", cluster.scheduler_address]
    assert main(["probabilities", "convert", "-i", "m0", "-o", "s0", *here]) == 0
    assert main(["ensemble", "-i", "x=s0", "x=m1", "-o", "fused", *here]) == 0
    write_dataset_json(tmp_path / "fused")
    assert main(["postprocess", "-i", "fused", "-o", "kept", "--keep_largest", *here]) == 0
    assert sorted(path.name for path in (tmp_path / "kept").glob("*.nii.gz")) == [
        f"{c}.nii.gz" for c in CASES
    ]


def test_no_scheduler_at_an_address_is_a_wrong_use(monkeypatch):
    monkeypatch.setattr("nnunet_ext.jobs.execution.CONNECT_S", 1)
    with (
        pytest.raises(UsageError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1"),
        connected("tcp://127.0.0.1:1"),
    ):
        pass
