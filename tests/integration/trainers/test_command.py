"""Trainings by nnU-Net's own command, which finds our trainers through `nnUNet_extTrainer`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_ext.nnunet.folders import discovery_folder

STOPPING = "nnUNetTrainerEarlyStopping"


def nnunetv2_train(*options):
    command = Path(sys.executable).with_name("nnUNetv2_train")
    if not command.exists():
        pytest.skip("nnUNetv2_train is not beside this Python")
    return subprocess.run(
        [command, "901", "2d", "0", "-tr", STOPPING, "-device", "cpu", *options],
        env={**os.environ, "nnUNet_extTrainer": str(discovery_folder())},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_refused_setting_ends_the_command_with_2_and_no_traceback(lab):
    lab.variables(n_epoch=2, patience=0)
    ended = nnunetv2_train()
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "  - nnUNet_patience is '0'; allowed is a whole number, at least 1, or none." in ended.stderr
    assert "  - nnUNet_n_epoch is '2', but what is read is nnUNet_n_epochs" in ended.stderr
    assert not lab.results.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("warm_children")
def test_the_command_trains_validates_and_goes_on(lab):
    lab.variables(n_epochs=2)
    ended = nnunetv2_train()
    assert ended.returncode == 0, ended.stderr
    assert (lab.fold(STOPPING) / "validation" / "summary.json").is_file()
    lab.variables(n_epochs=3)
    ended = nnunetv2_train("--c")
    assert ended.returncode == 0, ended.stderr
    log = lab.log(STOPPING)
    assert [log.count(f" Epoch {i} ") for i in range(4)] == [1, 1, 1, 0]
    assert "Changed on resume: n_epochs was 2, now 3." in log
