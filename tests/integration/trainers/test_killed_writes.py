"""A process that is killed while it writes a checkpoint leaves the last whole one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import warm

HARNESS = Path(__file__).with_name("kill_harness.py")
N_WHOLE, N_IN_PLACE = 100, 10

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="100 processes that import torch take minutes"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def kills(folder):
    numbers = (str(N_WHOLE), str(N_IN_PLACE))
    with warm.children():
        done = subprocess.run(
            [sys.executable, HARNESS, folder, *numbers], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_after_100_kills_at_random_instants_each_checkpoint_is_whole_and_none_is_lost(kills):
    found = [kill for kill in kills if kill["way"] == "whole"]
    assert len(found) == N_WHOLE
    for kill in found:
        # The one after the last that was reported may have got its name before the report.
        assert kill["held"] is not None
        assert kill["held"] - kill["reported"] in (0, 1), kill
    assert any(kill["left"] for kill in found), "no kill fell into a write"
    assert found[-1]["held"] >= N_WHOLE / 2


def test_the_same_kills_tear_a_checkpoint_that_is_written_in_place(kills):
    assert any(kill["held"] is None for kill in kills if kill["way"] == "in_place")


def test_what_kills_left_is_removed_by_the_next_write(folder, kills):
    assert sorted(path.name for path in folder.iterdir()) == ["in_place.pth", "whole.pth"]
