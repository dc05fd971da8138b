"""The script that checks a GPU, in its small form on a CPU: each part runs to its end and is told."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "gpu_check.py"
N_PARTS = 12
UNFINISHED = ("not finished", "not begun", "did not start", "its process ended")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCRIPT.exists(), reason="the benchmarks are not beside these tests"),
    pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 cannot be imported"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send"),
]


def run(folder, *arguments, **environment):
    """The script's exit code, its lines, and the content of its file."""
    command = [
        sys.executable,
        str(SCRIPT),
        "--device",
        "cpu",
        "--small",
        "--json",
        str(folder / "checks.json"),
    ]
    done = subprocess.run(
        [*command, "--work", str(folder / "work"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert (folder / "checks.json").is_file(), done.stdout + done.stderr
    return done.returncode, done.stdout.splitlines(), json.loads((folder / "checks.json").read_text())


def lines_of(content):
    """The lines that the checks of a file must have been told by."""
    return [
        f"{check['verdict']} {check['part']:2d} {check['name']:60} {check['value']}"
        + (f"   limit: {check['limit']}" if check["limit"] else "")
        for check in content["checks"]
    ]


@pytest.mark.usefixtures("warm_children")
def test_every_part_runs_to_its_end_and_the_file_says_what_was_printed(tmp_path):
    code, lines, content = run(tmp_path, "--minutes", "15")
    told = [line for line in lines if line[:4] in ("PASS", "FAIL", "INFO")]
    assert told == lines_of(content)
    assert {check["part"] for check in content["checks"]} == set(range(1, N_PARTS + 1))
    assert sorted(map(int, content["seconds"])) == list(range(1, N_PARTS + 1))
    unfinished = [line for line in told if any(words in line for words in UNFINISHED)]
    assert not unfinished, "\n".join(lines)
    failed = [line for line in told if line.startswith("FAIL")]
    assert not failed, "\n".join(failed)
    assert code == 0
    assert content["machine"]["device"] == "cpu"
    assert lines[0].startswith("device cpu, ")


def test_a_part_that_has_no_time_is_told_as_failed(tmp_path):
    code, lines, content = run(tmp_path, "--parts", "2", "8", "--minutes", "0.01")
    assert code == 1
    assert [check["verdict"] for check in content["checks"]] == ["FAIL", "FAIL"]
    assert [check["part"] for check in content["checks"]] == [2, 8]
    assert all(any(words in check["value"] for words in UNFINISHED) for check in content["checks"])
    assert [line for line in lines if line.startswith("FAIL")] == lines_of(content)
