import argparse
from pathlib import Path

import pytest

from nnunet_ext.cli.options import (
    add_execution,
    add_processes,
    case_progress,
    execution_of,
    member_folders,
    say_failed,
)
from nnunet_ext.errors import PlanError, UsageError
from nnunet_ext.jobs.execution import Shard


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    add_processes(parser)
    add_execution(parser)
    return parser


@pytest.mark.parametrize("option", ["--shard", "--part"])
def test_a_shard_is_asked_for_by_either_name(parser, option):
    with execution_of(parser.parse_args([option, "2/3", "-np", "0"]), "ensemble") as execution:
        assert execution.shard == Shard(2, 3)
        assert execution.n_processes == 0


def test_without_options_all_cases_run_on_default_processes(parser):
    with execution_of(parser.parse_args([]), "ensemble") as execution:
        assert (execution.shard, execution.executor, execution.n_processes) == (None, None, None)


def test_help_names_the_shard_alone(parser):
    text = parser.format_help()
    assert "--shard I/N" in text and "--part" not in text


def test_a_shard_that_is_none_is_refused(parser):
    with (
        pytest.raises(UsageError, match="no shard 4 of 3"),
        execution_of(parser.parse_args(["--shard", "4/3"]), "x"),
    ):
        pass


def test_a_slow_verb_tells_each_case_on_a_line_and_others_nothing(capsys):
    with case_progress("predict", is_slow=True) as tell:
        tell("a", None, 2)
        tell("b", "broken", 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("predict 1/2 a: ") and lines[1] == "predict 2/2 b: FAILED"
    with case_progress("ensemble") as tell:
        tell("a", None, 1)
    assert capsys.readouterr().err == ""


def test_members_are_folders_by_name_and_a_name_given_twice_has_two(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    entries = [f"m={tmp_path / 'x'}", f"m={tmp_path / 'y'}", str(tmp_path / "x")]
    folders = member_folders(entries, "-i")
    assert folders == {"m": [tmp_path / "x", tmp_path / "y"], str(tmp_path / "x"): [tmp_path / "x"]}
    with pytest.raises(PlanError, match="there is no folder"):
        member_folders([f"m={tmp_path / 'z'}"], "-i")


def test_what_was_not_done_is_told_where_results_are(capsys):
    say_failed("case_3: its scan is missing")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("FAILED case_3: its scan is missing\n", "")


def test_every_verb_tells_failures_by_the_same_function():
    verbs = Path(__file__).parents[3] / "nnunet_ext" / "cli"
    assert [path.name for path in verbs.glob("*.py") if 'say(f"FAILED' in path.read_text("utf-8")] == [
        "options.py"
    ]
