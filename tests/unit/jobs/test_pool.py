from concurrent.futures import ThreadPoolExecutor

import pytest
from jobs import behave

from nnunet_ext.jobs.pool import run_jobs, run_jobs_on, threads_each


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


@pytest.mark.parametrize("n_processes", [1, 2])
def test_a_job_whose_worker_died_is_named_and_tried_again(n_processes, tmp_path, caplog):
    job = f"dies once {tmp_path / 'marker'}"
    outcomes = {outcome.job: outcome for outcome in run_jobs(behave, ["a", job, "b"], n_processes)}
    assert {name: outcomes[name].result for name in outcomes} == {"a": "A", job: job.upper(), "b": "B"}
    assert "exit code 7" in caplog.text and "marker" in caplog.text


def test_an_executor_of_any_kind_gives_the_same_outcomes():
    jobs = ["a", "bad", "defect", "b"]
    with ThreadPoolExecutor(2) as executor:
        outcomes = {outcome.job: outcome for outcome in run_jobs_on(executor, behave, jobs)}
    assert {job: outcomes[job].result for job in "ab"} == {"a": "A", "b": "B"}
    assert outcomes["bad"].reason == "ProbabilitiesError: bad bytes"
    assert "ZeroDivisionError" in outcomes["defect"].reason


def test_no_jobs_are_no_outcomes():
    assert list(run_jobs(behave, [], 2)) == []


@pytest.mark.parametrize("n_jobs", [1, 2, 5, 100])
@pytest.mark.parametrize("n_processes", [1, 2, 3, 4, 7, 8])
def test_workers_and_their_threads_stay_within_the_bound(n_processes, n_jobs):
    n_threads = threads_each(n_processes, n_jobs)
    assert n_processes / 2 < min(n_processes, n_jobs) * n_threads <= n_processes


def test_no_worker_is_one_thread_of_this_process():
    assert threads_each(0, 5) == 1


def test_workers_side_by_side_have_numbers_and_a_new_one_takes_that_of_a_dead_one(tmp_path):
    jobs = ["number a", f"dies once {tmp_path / 'died'}", "number b", "number c"]
    results = [outcome.result for outcome in run_jobs(behave, jobs, 2)]
    numbers = {result for result in results if result in ("0", "1")}
    assert numbers and len(results) == 4 and None not in results
    assert [outcome.result for outcome in run_jobs(behave, ["number d"], 0)] == ["None"]
