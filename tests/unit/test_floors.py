"""Imports point down only, and quick things stay quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nnunet_ext
from nnunet_ext.cli.main import VERBS

ROOT = Path(nnunet_ext.__file__).parent
GROUND = {
    "errors", "files", "labels", "geometry", "volumes", "paths", "probabilities", "workers",
    "overlap", "objective",
}  # fmt: skip
ROOMS = {"ensemble", "postprocess", "submission", "report", "trainers", "installation", "evaluation"}
FLOORS = {**dict.fromkeys(GROUND, 0), **dict.fromkeys(ROOMS, 1), "workflow": 2, "demo": 3, "cli": 4}
WITH_TORCH = {
    "trainers/averaging.py",
    "trainers/configured.py",
    "trainers/continued.py",
    "trainers/interruptible.py",
    "trainers/ranks.py",
    "trainers/checkpoints.py",
    "trainers/ext_trainer.py",
    "trainers/launch.py",
    "trainers/losses/build.py",
    "trainers/losses/overlap.py",
    "trainers/losses/voxelwise.py",
    "trainers/optimizers.py",
    "trainers/trainer.py",
    "demo/planning.py",
    "installation/probe.py",
}
HEAVY = {"torch", "nnunetv2", "timm", "SimpleITK", "matplotlib", "pydantic"}
# Its options are the settings' fields.
NEEDED_FOR_HELP = {"train": {"pydantic"}}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "nnunet_ext" and len(parts) > 1 else None


SOURCES = [p for p in sorted(ROOT.rglob("*.py")) if p.parent != ROOT or p.stem in GROUND]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_point_down_only(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imports(path):
        room = room_of(module)
        if room is not None and room != own:
            assert room in FLOORS, f"{path}: {module} is no room"
            assert FLOORS[room] < FLOORS[own] or FLOORS[room] == FLOORS[own] == 0, f"{path} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_only_the_rooms_with_torch_know_it(path):
    heavy = {module for module in imports(path) if module.split(".")[0] in ("torch", "nnunetv2", "timm")}
    assert not heavy or path.relative_to(ROOT).as_posix() in WITH_TORCH, f"{path} imports {heavy}"


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_heavy(verb):
    heavy = HEAVY - NEEDED_FOR_HELP.get(verb, set())
    code = (
        "import sys; from nnunet_ext.cli.main import main\n"
        "try: main([sys.argv[1], '--help'])\n"
        "except SystemExit: pass\n"
        f"heavy = {heavy!r} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout


def test_the_names_for_notebooks_are_loaded_when_they_are_asked_for():
    for name in nnunet_ext.__all__:
        assert getattr(nnunet_ext, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        nnunet_ext.no_such_name  # noqa: B018
