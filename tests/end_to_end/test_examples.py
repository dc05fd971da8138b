"""The scripts in `examples` run as they stand, and what they print is right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not beside these tests"),
]


def run(name: str, folder: Path) -> str:
    """Run an example in a folder of its own; gives what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "made"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr[-3000:])
    return done.stdout


def test_folds_are_fused_with_weights_into_a_zip_without_faults(tmp_path):
    said = run("fuse_folds.py", tmp_path)
    assert "submission.zip: 4 cases, 0 faults" in said
    equal, weighted = (line.split() for line in said.splitlines() if line.startswith("fused"))
    assert float(weighted[-1]) > float(equal[-1])  # of the right ventricle
    assert (tmp_path / "made" / "submission.zip").is_file()


def test_tuning_recommends_weights_that_its_plan_holds(tmp_path):
    said = run("tune_weights.py", tmp_path)
    assert "12 of 12 validation cases fused" in said
    assert "\ntake: " in said and "members:" in said
    assert (tmp_path / "made" / "plan_tuning_report.json").is_file()


def test_trainings_are_read_and_compared_and_reported(tmp_path):
    said = run("compare_trainings.py", tmp_path)
    assert "nnUNetTrainerEarlyStopping 2d fold 0: stopped early" in said
    assert "nnUNetTrainer_250epochs 2d fold 0: finished" in said
    assert "not shown" not in said
    assert (tmp_path / "made" / "report" / "report.html").is_file()


def test_every_example_is_run_here():
    run_here = {"fuse_folds.py", "tune_weights.py", "compare_trainings.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*run_here, "generated_data.py"}
