from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import current_thread

import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.jobs.execution import Execution, Shard


@pytest.mark.parametrize("n_shards", [1, 2, 3, 7])
def test_all_shards_together_are_all_items_once(n_shards):
    items = list("abcde")
    shards = [Shard.parse(f"{number}/{n_shards}").select(items) for number in range(1, n_shards + 1)]
    assert sorted(item for shard in shards for item in shard) == items
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/2/3"])
def test_a_text_that_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="1/"):
        Shard.parse(text)


def test_a_shard_has_a_report_of_its_own():
    assert Shard(2, 3).named("report.json") == "report_2of3.json"


@dataclass(frozen=True)
class Job:
    case_id: str


def length(job: Job) -> int:
    if job.case_id == "bad":
        raise UsageError("no")
    return len(job.case_id)


def test_each_case_is_told_as_it_ends_with_the_reason_why_it_failed():
    told = []
    execution = Execution(n_processes=0, on_case=lambda *said: told.append(said))
    outcomes = list(execution.run_cases(length, [Job("a"), Job("bad")]))
    assert [outcome.result for outcome in outcomes] == [1, None]
    assert told == [("a", None, 2), ("bad", "UsageError: no", 2)]


def test_jobs_run_on_the_executor_where_there_is_one():
    with ThreadPoolExecutor(1) as executor:
        (outcome,) = Execution(executor=executor).run(lambda job: current_thread().name, ["a"])
    assert outcome.result.startswith("ThreadPoolExecutor")


def test_a_run_over_all_cases_together_refuses_a_shard():
    Execution().check_no_shard("tune")
    with pytest.raises(UsageError, match="tune takes all cases"):
        Execution(shard=Shard(1, 2)).check_no_shard("tune")


def test_without_a_shard_all_cases_are_selected_and_the_report_keeps_its_name():
    assert Execution().select("ab") == ["a", "b"]
    assert Execution().file_name("report.json") == "report.json"
    execution = Execution(shard=Shard(2, 2))
    assert execution.select("abcd") == ["b", "d"]
    assert execution.file_name("report.json") == "report_2of2.json"
