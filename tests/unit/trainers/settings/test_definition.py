"""The defaults of the settings, and settings that do not fit together."""

from __future__ import annotations

import subprocess
import sys

import pytest
from resolved_settings import faults, resolve

from nnunet_ext.trainers.losses.options import LossOptions
from nnunet_ext.trainers.settings.definition import (
    READERS,
    ExtSettings,
    TrainingSettings,
)
from nnunet_ext.trainers.settings.fields import options_from


def test_the_defaults_are_nnunets_and_early_stopping_is_patient():
    assert resolve().values.model_dump() == {
        "n_epochs": 1000,
        "n_iterations": 250,
        "n_val_iterations": 50,
        "initial_lr": 1e-2,
        "save_every": 50,
        "patience": 50,
        "min_delta": 0.0,
        "min_epochs": 0,
        "stop_at_dice": None,
        "restore_best": True,
    }
    assert set(resolve().origins.values()) == {"default"}


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        resolve().values.n_epochs = 3


def test_settings_are_read_without_torch_and_nnunet():
    code = (
        "import sys, nnunet_ext.trainers.settings.definition, nnunet_ext.trainers.policies.early_stopping;"
        "sys.exit(bool({'torch', 'nnunetv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_reader_reads_at_least_the_length_of_a_training():
    assert all(issubclass(model, TrainingSettings) for model in READERS.values())


def test_the_defaults_of_the_parts_are_nnunets():
    values = resolve(ExtSettings).values
    assert (values.optimizer, values.momentum, values.weight_decay) == ("sgd", 0.99, 3e-5)
    assert (values.schedule, values.loss, values.clip_norm, values.amp) == ("poly", "dice_ce", 12, "auto")
    assert (values.accumulate, values.ema_decay, values.warmup_epochs, values.cooldown_epochs) == (
        1,
        None,
        0,
        0,
    )
    assert options_from(values, LossOptions) == LossOptions()
    assert values.remarks() == []


def test_a_warm_up_as_long_as_the_training_is_refused():
    (fault,) = faults(ExtSettings, nnUNet_warmup_epochs="5", nnUNet_n_epochs="5")
    assert fault == "  - warmup_epochs is 5, n_epochs 5; the warm-up must be shorter than the training."


def test_weights_that_leave_no_loss_are_refused():
    (fault,) = faults(ExtSettings, nnUNet_dice_weight="0", nnUNet_term_weight="0")
    assert "both 0" in fault


def test_what_cannot_have_an_effect_is_noted():
    resolved = resolve(ExtSettings, nnUNet_restart_epochs="7", nnUNet_optimizer="adam")
    notes = [line for line in resolved.lines() if line.startswith("Note: ")]
    assert notes == [
        "Note: restart_epochs = 7 has no effect: schedule is poly, and only restarts would read it.",
        "Note: initial_lr = 0.01 is meant for sgd; adam may need one much lower.",
    ]
