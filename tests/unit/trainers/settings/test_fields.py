"""The declaration of a setting, and times of day."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

import pytest
from resolved_settings import faults, resolve

from nnunet_ext.trainers.policies.early_stopping import EarlyStopping
from nnunet_ext.trainers.policies.schedules import Schedule
from nnunet_ext.trainers.settings.definition import (
    ExtSettings,
    TrainingSettings,
)
from nnunet_ext.trainers.settings.fields import facts_of, next_time, options_from, setting


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("07:30", datetime(2026, 3, 2, 7, 30)),
        ("23:15:10", datetime(2026, 3, 1, 23, 15, 10)),
        ("2026-02-01 07:30", datetime(2026, 2, 1, 7, 30)),
    ],
)
def test_a_time_of_day_is_the_next_one(text, meant):
    assert next_time(text, datetime(2026, 3, 1, 12, 0)) == meant


@pytest.mark.parametrize("text", ["25:00", "tomorrow", "2026-02-30 07:30", "7"])
def test_what_is_no_time_is_refused_with_two_that_are(text):
    assert faults(ExtSettings, nnUNet_stop_at=text) == [
        f"  - nnUNet_stop_at is {text!r}; allowed is a time as 07:30 or 2026-03-01 07:30, or none."
    ]


def test_options_take_the_settings_of_the_same_names():
    values = resolve(ExtSettings, nnUNet_patience="7", nnUNet_lr_factor="0.5", nnUNet_schedule="step").values
    assert options_from(values, EarlyStopping) == EarlyStopping(7)
    assert options_from(values, Schedule) == Schedule(schedule="step", lr_factor=0.5)


def test_a_setting_depends_only_on_values_that_the_other_setting_may_have():
    fields = ExtSettings.model_fields
    dependent = {name: facts_of(one).only_with for name, one in fields.items() if facts_of(one).only_with}
    assert {"restart_epochs", "focal_gamma", "case_rate"} <= dependent.keys()
    for other, values in dependent.values():
        assert set(values) < set(get_args(fields[other].annotation))


def test_a_new_setting_is_one_field():
    class More(TrainingSettings):
        dropout: float = setting(0.1, "share of features set to zero", code="drop", ge=0, lt=1)

    assert resolve(More, nnUNet_dropout="0.5").values.dropout == 0.5
    assert "allowed is a finite number, at least 0, below 1" in faults(More, nnUNet_dropout="1")[0]
    assert "nnUNet_dropout" in faults(More, nnUNet_dropuot="0.5")[0]
