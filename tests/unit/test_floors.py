"""Imports point down only, and quick things stay quick."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import nnunet_ext
from nnunet_ext.cli.main import VERBS

ROOT = Path(nnunet_ext.__file__).parent
GROUND = {
    "errors", "files", "labels", "geometry", "volumes", "paths", "probabilities", "voxels", "workers",
    "devices", "overlap", "label_overlap", "objective", "cluster", "memory", "parts", "progress", "trained",
    "zips", "documents", "formats", "plain_pickle", "outputs", "escaping", "metrics", "subjects",
    "training_process",
}  # fmt: skip
ROOMS = {
    "ensemble",
    "postprocess",
    "submission",
    "report",
    "trainers",
    "planning",
    "prediction",
    "pruning",
    "evaluation",
    "installation",
    "integrity",
    "splits",
    "configurations",
    "roi",
}
FLOORS = {
    **dict.fromkeys(GROUND, 0),
    "networks": 1,
    **dict.fromkeys(ROOMS, 2),
    "workflow": 3,
    "demo": 4,
    "cli": 5,
}
USERS_OF_NETWORKS = {"networks", "trainers", "planning", "prediction", "pruning"}
TORCH_ROOMS = {"networks", "planning", "prediction", "pruning"}
WITH_TORCH = {
    "trainers/averaging.py",
    "trainers/batches.py",
    "trainers/configured.py",
    "trainers/continued.py",
    "trainers/interruptible.py",
    "trainers/ranks.py",
    "trainers/unet_plus_plus.py",
    "trainers/benchmark.py",
    "trainers/ext_trainer.py",
    "trainers/launch.py",
    "trainers/loaders.py",
    "trainers/losses/build.py",
    "trainers/losses/overlap.py",
    "trainers/losses/voxelwise.py",
    "trainers/optimizers.py",
    "trainers/record/description.py",
    "trainers/record/environment.py",
    "trainers/record/gpu.py",
    "trainers/record/network.py",
    "trainers/record/recorded.py",
    "trainers/record/tensorboard.py",
    "trainers/pretrained.py",
    "trainers/start.py",
    "trainers/stepping.py",
    "trainers/stored.py",
    "trainers/trainer.py",
    "trainers/validated.py",
    "configurations/memory.py",
    "devices.py",
    "demo/planning.py",
    "integrity/preprocessing.py",
    "workflow/one_pass.py",
    "installation/probe.py",
}
TORCH_SIDE = {"torch", "nnunetv2", "timm", "dynamic_network_architectures"}
HEAVY = {*TORCH_SIDE, "SimpleITK", "matplotlib", "pydantic"}
# Its options are the settings' fields.
NEEDED_FOR_HELP = {"train": {"pydantic"}, "benchmark": {"pydantic"}}
WITHOUT_NUMPY = {"results", "monitor"}


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
            assert room != "networks" or own in USERS_OF_NETWORKS, f"{path} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_only_the_rooms_with_torch_know_it(path):
    heavy = {module for module in imports(path) if module.split(".")[0] in TORCH_SIDE}
    within = path.relative_to(ROOT)
    known = within.parts[0] in TORCH_ROOMS or within.as_posix() in WITH_TORCH
    assert not heavy or known, f"{path} imports {heavy}"


# One process shows the help of all verbs, those first that may import least: what a verb imports by itself is
# among what has been imported after it.
SHOW_HELP = """
import contextlib, io, json, sys
from nnunet_ext.cli.main import main
answers = {}
for verb in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        main([verb, "--help"])
    answers[verb] = shown.getvalue(), sorted(sys.modules)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def helps():
    """What each verb's help shows, and the modules that are imported then."""
    verbs = sorted(VERBS, key=lambda verb: (verb in NEEDED_FOR_HELP, verb not in WITHOUT_NUMPY))
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP, json.dumps(verbs)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_heavy(verb, helps):
    heavy = HEAVY - NEEDED_FOR_HELP.get(verb, set()) | ({"numpy"} if verb in WITHOUT_NUMPY else set())
    shown, modules = helps[verb]
    assert "usage: " in shown
    assert not heavy & set(modules)


def test_the_names_for_notebooks_are_loaded_when_they_are_asked_for():
    for name in nnunet_ext.__all__:
        assert getattr(nnunet_ext, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        nnunet_ext.no_such_name  # noqa: B018
