import pytest
from jobs import behave

from nnunet_ext.workers import run_jobs


@pytest.mark.parametrize("n_processes", [0, 1, 3])
def test_every_job_has_an_outcome_and_a_failure_takes_no_other_down(n_processes):
    jobs = ["a", "bad", "slow", "defect", "b", "c"]
    outcomes = {outcome.job: outcome for outcome in run_jobs(behave, jobs, n_processes)}
    assert sorted(outcomes) == sorted(jobs)
    assert {job: outcomes[job].result for job in "abc"} == {"a": "A", "b": "B", "c": "C"}
    assert outcomes["bad"].reason == "ProbabilitiesError: bad bytes"
    assert "ZeroDivisionError" in outcomes["defect"].reason


@pytest.mark.parametrize("n_processes", [1, 2])
def test_a_worker_that_dies_is_told_with_its_exit_code_and_the_others_go_on(n_processes):
    outcomes = {outcome.job: outcome for outcome in run_jobs(behave, ["a", "dies", "b", "c"], n_processes)}
    assert "exit code 7" in outcomes["dies"].reason
    assert {job: outcomes[job].result for job in "abc"} == {"a": "A", "b": "B", "c": "C"}


def test_no_jobs_are_no_outcomes():
    assert list(run_jobs(behave, [], 2)) == []
