"""Real scans of the hippocampus, and nnU-Net's commands on them as a user types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import warm

from nnunet_ext.nnunet.folders import with_discovery

DATA = Path(os.environ.get("NNUNET_EXT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SOURCE = DATA / "hippocampus" / "Dataset004_Hippocampus"
NEEDS_DATA = pytest.mark.skipif(
    not SOURCE.is_dir(), reason=f"{SOURCE} is not there (set NNUNET_EXT_TEST_DATA)"
)


def write_raw(root: Path, n_training: int, n_test: int) -> None:
    """Copy so many cases into `raw`."""
    raw = root / "raw" / SOURCE.name
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / folder).mkdir(parents=True)
        n_cases = n_test if folder == "imagesTs" else n_training
        for path in sorted((SOURCE / folder).glob("*.nii.gz"))[:n_cases]:
            shutil.copy(path, raw / folder)
    dataset = json.loads((SOURCE / "dataset.json").read_text(encoding="utf-8"))
    (raw / "dataset.json").write_text(json.dumps(dataset | {"numTraining": n_training}), encoding="utf-8")


def run(root: Path, command: str, *arguments: str, prelude: str = "", **settings: str) -> str:
    """Run one of nnU-Net's commands, or a verb of `nnunet_ext`, with its folders below `root`.

    It is a fork that has torch imported, see `warm.py`; so is each process that it spawns.

    Args:
        root: holds `raw`, `preprocessed` and `results`.
        command: `nnUNetv2_train`, …, or `nnunet_ext`, or `python`.
        arguments: of the command.
        prelude: Python to run before the command, see `warm.children`.
        settings: further variables.

    Returns:
        What it printed.
    """
    environment = {
        "nnUNet_raw": str(root / "raw"),
        "nnUNet_preprocessed": str(root / "preprocessed"),
        "nnUNet_results": str(root / "results"),
        "nnUNet_extTrainer": with_discovery({}),
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "f",
        **settings,
    }
    executable = [str(Path(sysconfig.get_path("scripts")) / command)]
    if command in ("nnunet_ext", "python"):
        executable = [sys.executable, *(["-m", command] if command == "nnunet_ext" else [])]
    with warm.children(prelude):
        done = subprocess.run(
            [*executable, *arguments],
            env=os.environ | environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
