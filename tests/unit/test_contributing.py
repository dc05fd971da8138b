"""CONTRIBUTING.md names what is there: its paths, layers and commands."""

import re
import shlex
from pathlib import Path

import pytest

from nnunet_ext.cli.verbs import VERBS

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "CONTRIBUTING.md"
TEXT = GUIDE.read_text(encoding="utf-8") if GUIDE.exists() else ""
PROGRAMS = {"bash", "python", "ruff", "mypy", "lint-imports", "mkdocs"}

pytestmark = pytest.mark.skipif(not TEXT, reason="CONTRIBUTING.md is not beside these tests")


def commands() -> list[list[str]]:
    lines = re.findall(r"^    (\S.*)$", TEXT, re.MULTILINE)
    return [shlex.split(part, comments=True) for line in lines for part in line.split("&&")]


def test_the_layers_are_those_that_are_checked():
    (listed,) = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    (declared,) = re.findall(r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert listed.split("\n")[:-1] == re.findall(r'"(.+?)"', declared)


def test_every_path_is_there():
    named = re.findall(r"`((?:nnunet_ext|tests|scripts|docs|README|CHANGELOG|pyproject)[\w/\\.]*)`", TEXT)
    assert len(named) > 15
    missing = [path for path in named if not (ROOT / path.replace("\\", "/")).exists()]
    assert missing == []


def test_the_rooms_of_the_walk_are_there():
    walk = TEXT[TEXT.index("## A walk") : TEXT.index("## Layers")]
    rooms = {path.name for path in (ROOT / "nnunet_ext").iterdir() if path.is_dir()}
    named = set(re.findall(r"`(\w+)`", walk))
    assert named - rooms <= {*VERBS, "run_"}
    assert {"check", "trainers", "ensemble", "metrics", "report"} <= named & rooms


def test_the_commands_are_of_known_programs_on_paths_that_are_there():
    found = commands()
    assert {command[0] for command in found} == PROGRAMS
    for command in found:
        paths = [word for word in command if "/" in word]
        assert all((ROOT / path).exists() for path in paths), command
