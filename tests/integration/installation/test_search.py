"""nnU-Net's own search for our trainers, as the doctor tries it."""

import os
from pathlib import Path

import pytest

from nnunet_ext.installation.doctor import examine
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, discovery_folder

TRAINERS = {"nnUNetTrainerCustomEpochs", "nnUNetTrainerEarlyStopping"}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_children")]


def severities(*folders):
    """Severity by subject where nnUNet_extTrainer names these folders."""
    value = os.pathsep.join(map(str, folders))
    return {finding.subject: finding for finding in examine(os.environ | {TRAINER_VARIABLE: value}).findings}


def test_nnunet_finds_both_trainers_in_this_package(tmp_path):
    (tmp_path / "mine.py").write_text("class nnUNetTrainerOfMine: pass")
    found = severities(tmp_path, discovery_folder())
    assert {found[name].severity for name in TRAINERS} == {"ok"}
    assert {Path(found[name].seen).parent for name in TRAINERS} == {discovery_folder().parent}
    assert found[TRAINER_VARIABLE].severity == "ok"


def test_a_folder_of_others_that_stops_the_search_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("import a_package_nobody_has")
    found = severities(tmp_path, discovery_folder())
    assert {found[name].severity for name in TRAINERS} == {"error"}
    assert found[TRAINER_VARIABLE].severity == "error"
    assert "No module named 'a_package_nobody_has'" in found[TRAINER_VARIABLE].seen
    assert str(tmp_path) in found[TRAINER_VARIABLE].seen
