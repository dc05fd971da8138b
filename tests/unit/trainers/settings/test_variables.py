"""Variables that are misspelt, unknown or nnU-Net's."""

from __future__ import annotations

import pytest
from resolved_settings import EVERY_NAME, faults, resolve

from nnunet_ext.trainers.settings.definition import (
    EarlyStoppingSettings,
    TrainingSettings,
)
from nnunet_ext.trainers.settings.variables import NNUNET_VARIABLES


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("nnUNet_n_epoch", "nnUNet_n_epochs"),
        ("nnunet_n_epochs", "nnUNet_n_epochs"),
        ("NNUNET_N_EPOCHS", "nnUNet_n_epochs"),
        ("nnUNet_epochs", "nnUNet_n_epochs"),
        ("nnUNet_num_epochs", "nnUNet_n_epochs"),
        ("nnUNet_max_epochs", "nnUNet_n_epochs"),
        ("nnUNet_nEpochs", "nnUNet_n_epochs"),
        ("nnUNetn_epochs", "nnUNet_n_epochs"),
        ("nnUNet-n_epochs", "nnUNet_n_epochs"),
        ("nUNet_n_epochs", "nnUNet_n_epochs"),
        ("nnNet_n_epochs", "nnUNet_n_epochs"),
        ("nnUNet_ext_n_epochs", "nnUNet_n_epochs"),
        ("nnUNet_iterations", "nnUNet_n_iterations"),
        ("nnUNet_num_iterations_per_epoch", "nnUNet_n_iterations"),
        ("nnUNet_num_val_iterations_per_epoch", "nnUNet_n_val_iterations"),
        ("nnUNet_lr", "nnUNet_initial_lr"),
        ("nnUNet_learning_rate", "nnUNet_initial_lr"),
        ("nnUNet_initial_learning_rate", "nnUNet_initial_lr"),
        ("nnUnet_patience", "nnUNet_patience"),
        ("nnUNet_patiance", "nnUNet_patience"),
        ("nnUNet_early_stopping_patience", "nnUNet_patience"),
        ("nnUNet_mindelta", "nnUNet_min_delta"),
        ("nnUNet_min_epoch", "nnUNet_min_epochs"),
        ("nnUNet_stop_dice", "nnUNet_stop_at_dice"),
        ("nnUNet_restorebest", "nnUNet_restore_best"),
        ("nnUNet_ext_conf", "nnUNet_ext_config"),
        ("NNUNET_EXT_CONFIG", "nnUNet_ext_config"),
        ("nnUNet_config", "nnUNet_ext_config"),
    ],
)
def test_a_name_that_is_nearly_ours_is_a_fault_that_names_ours(variable, meant):
    for model in (TrainingSettings, EarlyStoppingSettings):
        (fault,) = faults(model, **{variable: "80"})
        assert fault.startswith(f"  - {variable} is '80', but what is read is {meant}:")


@pytest.mark.parametrize("name", [name for name in EVERY_NAME if name != "eps"])
def test_every_letter_left_out_of_a_name_is_noticed(name):
    for i in range(len(name)):
        shorter = name[:i] + name[i + 1 :]
        assert f"nnUNet_{shorter}" in faults(**{f"nnUNet_{shorter}": "1"})[0], shorter


def test_a_misspelling_beside_the_right_name_is_still_a_fault():
    (fault,) = faults(nnUNet_n_epochs="80", NNUNET_N_EPOCHS="90")
    assert "NNUNET_N_EPOCHS is '90'" in fault


@pytest.mark.parametrize("variable", sorted(NNUNET_VARIABLES))
def test_nnunets_own_variables_are_neither_faults_nor_notes(variable):
    assert resolve(**{variable: "1"}).notes == ()
    assert resolve(**{variable.upper(): "1"}).notes == ()
    assert resolve(ignore_case=True, **{variable.upper(): "1"}).notes == ()


@pytest.mark.parametrize(
    "variable", ["nnUNet_n_proc", "nnUNet_results_dir", "NNUNET_RAW", "nnUNet_extTrainers"]
)
def test_what_is_nearer_to_nnunets_own_is_no_misspelling_of_ours(variable):
    assert resolve(**{variable: "x"}).notes == ()


@pytest.mark.parametrize(
    "variable", ["PATH", "HOME", "EPOCHS", "n_epochs", "PATIENCE", "UNET_HOME", "nnUNet"]
)
def test_variables_of_others_are_left_alone(variable):
    assert resolve(**{variable: "80"}).notes == ()


@pytest.mark.parametrize(
    "variable", ["nnUNet_fold", "nnUNet_configuration", "nnUNet_device", "nnUNet_ext_foo"]
)
def test_a_variable_in_nnunets_manner_that_nobody_knows_is_told(variable):
    assert resolve(**{variable: "1"}).notes == (
        f"{variable} is set, but neither nnU-Net nor nnunet_ext knows it.",
    )


def test_where_case_means_nothing_upper_case_names_are_ours():
    resolved = resolve(ignore_case=True, NNUNET_N_EPOCHS="80", NNUNET_RAW="x")
    assert resolved.values.n_epochs == 80
    assert resolved.origins["n_epochs"] == "environment nnUNet_n_epochs"
    assert resolved.notes == ()
