"""A run in one pass that is killed at any instant, and started again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm
from models import write_model, write_scans

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="children begin at once only where they are forks")

os.environ.setdefault("nnUNet_def_n_proc", "1")
PLAN = (
    "members: {flat: {results: {d: 902, c: 2d, f: [0, 1]}}, full: {results: {d: 902, c: 3d_fullres, f: 0}}}"
)


@pytest.fixture
def root(tmp_path):
    for name in ("raw", "preprocessed"):
        (tmp_path / name).mkdir()
    write_scans(tmp_path / "imagesTs", 4)
    write_model(tmp_path / "results", "2d")
    write_model(tmp_path / "results", "3d_fullres", ("0",))
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    return tmp_path


def start(root: Path, output: Path) -> subprocess.Popen:
    program = "import sys; from predict_runs import predict; predict(*sys.argv[1:])"
    paths = [str(Path(warm.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with warm.children():
        return subprocess.Popen(
            [sys.executable, "-c", program, str(root), str(output)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )


def contents(output: Path) -> dict[str, bytes]:
    """The files under final names: segmentations, probabilities, the zip."""
    kept = [path for path in output.iterdir() if path.is_file() and not path.name.startswith(".part-")]
    return {path.name: path.read_bytes() for path in kept if path.suffix != ".json"}


@pytest.mark.parametrize("n_kills", [3, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_a_killed_run_leaves_whole_files_only_and_ends_as_an_undisturbed_one(root, n_kills):
    rng = random.Random(n_kills)
    start(root, root / "warm").wait()
    began = time.perf_counter()
    start(root, root / "undisturbed").wait()
    whole_s = time.perf_counter() - began
    expected = contents(root / "undisturbed")
    assert len(expected) == 2 * 4 + 1
    n_cut_short = kill = 0
    while kill < n_kills or n_cut_short == 0:
        kill += 1
        output = root / f"killed_{kill}"
        child = start(root, output)
        time.sleep(rng.uniform(0, whole_s))
        child.kill()
        child.wait()
        left = contents(output) if output.exists() else {}
        assert left.items() <= expected.items()
        if left.keys() < expected.keys():
            n_cut_short += 1
        else:
            whole_s /= 2  # the machine has become faster
        again = start(root, output)
        assert again.wait() == 0
        assert contents(output) == expected
        assert not list(output.rglob(".part-*"))
