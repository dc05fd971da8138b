"""Settings from variables, a file and defaults, and every fault that refuses a training."""

from __future__ import annotations

from typing import get_args

import pytest
from resolved_settings import EVERY_NAME, faults, resolve

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.settings.definition import (
    ExtSettings,
    TrainingSettings,
)
from nnunet_ext.trainers.settings.resolution import resolve_settings

STOPPERS = "nnUNetTrainerEarlyStopping, nnUNetTrainerExt and nnUNetTrainerUNetPlusPlus"


@pytest.fixture
def config(tmp_path):
    """Writes a settings file and returns its path."""

    def write(text):
        path = tmp_path / "settings.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


# Where a setting comes from


def test_the_environment_goes_over_the_file_and_the_file_over_the_default(config):
    path = config("n_epochs: 80\npatience: 7\n")
    resolved = resolve(nnUNet_ext_config=path, nnUNet_patience="9")
    assert (resolved.values.n_epochs, resolved.values.patience) == (80, 9)
    assert resolved.origins["n_epochs"] == f"file {path}"
    assert resolved.origins["patience"] == "environment nnUNet_patience"
    assert resolved.origins["save_every"] == "default"


def test_every_setting_can_be_given_by_variable_and_by_file(config):
    fields = ExtSettings.model_fields.items()
    given = {
        "betas": "0.5,0.75",
        "label_weights": "1, 2.5",
        "stop_at": "07:30",
        **dict.fromkeys(("warmup_epochs", "momentum"), "0"),
        **dict.fromkeys(("lr_factor", "ema_decay"), "0.5"),
    }
    given |= {name: "1" for name, field in fields if name not in given and not isinstance(field.default, str)}
    given |= {name: field.default for name, field in fields if name not in given}
    assert list(given.keys() ^ set(EVERY_NAME)) == []
    by_file = resolve(ExtSettings, nnUNet_ext_config=config("".join(f"{k}: {v}\n" for k, v in given.items())))
    by_variable = resolve(ExtSettings, **{f"nnUNet_{name}": value for name, value in given.items()})
    assert by_file.values == by_variable.values
    assert "default" not in {*by_file.origins.values(), *by_variable.origins.values()}
    assert (by_file.values.betas, by_file.values.label_weights) == ((0.5, 0.75), (1, 2.5))


def test_one_line_a_setting_says_where_it_came_from():
    lines = resolve(TrainingSettings, nnUNet_n_epochs="80").lines()
    assert lines[0] == "n_epochs = 80 (environment nnUNet_n_epochs)"
    assert "initial_lr = 0.01 (default)" in lines
    assert len(lines) == len(TrainingSettings.model_fields)


# Values


@pytest.mark.parametrize("value", ["1", "80", " 80 ", "1000000"])
def test_whole_numbers_are_taken(value):
    assert resolve(nnUNet_n_epochs=value).values.n_epochs == int(value)


@pytest.mark.parametrize("name", ["n_epochs", "n_iterations", "n_val_iterations", "save_every"])
@pytest.mark.parametrize(
    "value", ["0", "-1", "12.5", "", " ", "nan", "inf", "many", "true", "none", "0x10", "8e"]
)
def test_what_is_no_count_is_refused_with_value_and_range(name, value):
    (fault,) = faults(**{f"nnUNet_{name}": value})
    assert fault == f"  - nnUNet_{name} is {value!r}; allowed is a whole number, at least 1."


def test_min_epochs_may_be_zero_but_not_less():
    assert resolve(nnUNet_min_epochs="0").values.min_epochs == 0
    (fault,) = faults(nnUNet_min_epochs="-1")
    assert "allowed is a whole number, at least 0" in fault


@pytest.mark.parametrize("value", ["0", "-0.01", "nan", "inf", "-inf", "1e999", "", "fast", "0,01"])
def test_what_is_no_learning_rate_is_refused(value):
    (fault,) = faults(nnUNet_initial_lr=value)
    assert fault == f"  - nnUNet_initial_lr is {value!r}; allowed is a finite number, above 0."


@pytest.mark.parametrize("value", ["-0.1", "nan", "inf", "", "x"])
def test_what_is_no_min_delta_is_refused(value):
    (fault,) = faults(nnUNet_min_delta=value)
    assert "allowed is a finite number, at least 0" in fault


@pytest.mark.parametrize(
    ("value", "meant"), [("0.8", 0.8), ("1", 1.0), ("none", None), ("None", None), ("~", None)]
)
def test_a_dice_to_stop_at_is_a_share_or_none(value, meant):
    assert resolve(nnUNet_stop_at_dice=value).values.stop_at_dice == meant


@pytest.mark.parametrize("value", ["0", "-0.5", "1.01", "80", "nan", "inf", "", "no"])
def test_what_is_no_dice_is_refused(value):
    (fault,) = faults(nnUNet_stop_at_dice=value)
    assert fault.endswith("allowed is a finite number, above 0, at most 1, or none.")


@pytest.mark.parametrize("value", ["1", "true", "True", "TRUE", "yes"])
def test_yes_in_many_words(value):
    assert resolve(nnUNet_restore_best=value).values.restore_best is True


@pytest.mark.parametrize("value", ["0", "false", "False", "no", "No"])
def test_no_in_many_words(value):
    assert resolve(nnUNet_restore_best=value).values.restore_best is False


@pytest.mark.parametrize("value", ["", "2", "ja", "none", "-1"])
def test_what_is_neither_yes_nor_no_is_refused(value):
    (fault,) = faults(nnUNet_restore_best=value)
    assert fault.endswith("allowed is 1, 0, true, false, yes or no.")


def test_all_faults_are_told_at_once(config):
    path = config("save_every: 0\nn_epoch: 80\n")
    found = faults(
        nnUNet_ext_config=path, nnUNet_n_epochs="12.5", nnUNet_min_delta="nan", nnUNet_patiance="3"
    )
    assert len(found) == 5
    for part in ("save_every in", "n_epoch in", "nnUNet_n_epochs is '12.5'", "min_delta", "nnUNet_patience"):
        assert any(part in fault for fault in found), part


# Names


# eps: what is left of it is as near to nnU-Net's own nps.


def test_where_case_means_nothing_a_misspelling_is_still_a_fault(config):
    (fault,) = faults(ignore_case=True, NNUNET_N_EPOCH="80")
    assert "what is read is nnUNet_n_epochs" in fault
    path = config("n_epochs: 80")
    assert resolve(ignore_case=True, NNUNET_EXT_CONFIG=path).values.n_epochs == 80


def test_what_only_another_trainer_reads_is_told_and_not_checked():
    resolved = resolve(TrainingSettings, nnUNet_patience="a lot")
    note = f"nnUNet_patience is set, but only {STOPPERS} read it."
    assert resolved.notes == (note,)
    assert resolved.lines()[-1] == f"Note: {note}"


# The file


def test_a_file_shared_by_all_trainers_may_hold_the_settings_of_each(config):
    path = config("n_epochs: 80\npatience: 7\n")
    resolved = resolve(TrainingSettings, nnUNet_ext_config=path)
    assert resolved.values.n_epochs == 80
    note = f"patience in {path} is set, but only {STOPPERS} read it."
    assert resolved.notes == (note,)
    (alone,) = resolve(nnUNet_ext_config=config("schedule: cosine")).notes
    assert alone.endswith("is set, but only nnUNetTrainerExt and nnUNetTrainerUNetPlusPlus read it.")


def test_a_file_is_read_as_it_is_written(config):
    lines = ["\ufeff# Grüße", "initial_lr: 1e-3", "n_epochs: 0100", "stop_at_dice: null", "restore_best: no"]
    values = resolve(nnUNet_ext_config=config("\r\n".join(lines))).values
    assert (values.initial_lr, values.n_epochs) == (1e-3, 100)
    assert (values.stop_at_dice, values.restore_best) == (None, False)


@pytest.mark.parametrize("value", ["true", "0", "12.5", "[80]", "{a: 1}", "", "null", ".nan"])
def test_a_value_in_a_file_is_checked_as_a_variable_is(config, value):
    path = config(f"n_epochs: {value}\n")
    (fault,) = faults(nnUNet_ext_config=path)
    assert fault.startswith(f"  - n_epochs in {path} is ")
    assert fault.endswith("allowed is a whole number, at least 1.")


@pytest.mark.parametrize("key", ["n_epoch", "epochs", "N_EPOCHS", "nnUNet_n_epochs", "num_epochs"])
def test_an_unknown_key_is_answered_with_the_nearest_name(config, key):
    path = config(f"{key}: 80\n")
    (fault,) = faults(nnUNet_ext_config=path)
    assert fault == f"  - {key} in {path} is no setting; did you mean n_epochs?"


def test_a_key_like_none_is_answered_with_all_names(config):
    (fault,) = faults(nnUNet_ext_config=config("colour: red\n"))
    assert all(name in fault for name in EVERY_NAME)


def test_a_key_given_twice_is_a_fault(config):
    (fault,) = faults(nnUNet_ext_config=config("n_epochs: 80\nn_epochs: 1000\n"))
    assert "given twice, as '80' and as '1000'" in fault


@pytest.mark.parametrize("text", ["", "# nothing\n", "- n_epochs\n", "80\n", "n_epochs 80\n"])
def test_a_file_that_is_no_mapping_is_a_fault(config, text):
    (fault,) = faults(nnUNet_ext_config=config(text))
    assert "must hold one setting a line" in fault


@pytest.mark.parametrize(
    "text", ["n_epochs: [80\n", "a: b: c\n", b"\xff\xfe\x00n", b"n_epochs: \xfc\n", "a: 1\n--- \nb: 1\n"]
)
def test_a_file_that_is_no_yaml_is_a_fault(config, text):
    path = config(text)
    (fault,) = faults(nnUNet_ext_config=path)
    assert fault.startswith(f"  - nnUNet_ext_config is {path!r}: ")


def test_a_file_that_is_missing_a_folder_or_unnamed_is_a_fault(tmp_path):
    (missing,) = faults(nnUNet_ext_config=str(tmp_path / "none.yaml"))
    assert "No such file or directory" in missing
    assert faults(nnUNet_ext_config=str(tmp_path))
    assert faults(nnUNet_ext_config="")


# Settings of a run that is continued


def test_a_recorded_setting_takes_the_place_of_a_default_only():
    resolved = resolve(nnUNet_patience="9").over({"n_epochs": 80, "patience": 3})
    assert (resolved.values.n_epochs, resolved.values.patience) == (80, 9)
    assert resolved.origins["n_epochs"] == "checkpoint"
    assert resolved.origins["patience"] == "environment nnUNet_patience"


@pytest.mark.parametrize("record", [{}, {"colour": "red"}, {"n_epochs": 0}, {"n_epochs": "many"}])
def test_a_record_that_says_nothing_usable_changes_nothing(record):
    assert resolve().over(record) == resolve()


def test_what_is_recorded_reads_back_the_same():
    asked = resolve(nnUNet_n_epochs="80", nnUNet_stop_at_dice="0.5", nnUNet_restore_best="no").values
    assert resolve().over(asked.model_dump()).values == asked


# The settings of nnUNetTrainerExt


@pytest.mark.parametrize("setting", ["optimizer", "schedule", "loss", "amp"])
def test_a_wrong_choice_is_answered_with_all_right_ones(setting):
    (fault,) = faults(ExtSettings, **{f"nnUNet_{setting}": "adamww"})
    assert fault.startswith(f"  - nnUNet_{setting} is 'adamww'; allowed is one of ")
    for choice in get_args(ExtSettings.model_fields[setting].annotation):
        assert choice in fault


@pytest.mark.parametrize("value", ["0.9;0.99", "a,b", "0.9,", "nan,1", ""])
def test_what_is_no_list_of_numbers_is_refused_once(value):
    (fault,) = faults(ExtSettings, nnUNet_betas=value)
    assert fault.endswith("allowed is finite numbers with commas between them, or none.")


# Settings in the trainer's name


def test_the_name_goes_over_the_default_only():
    resolved = resolve_settings(ExtSettings, {"nnUNet_patience": "9"}, recipe={"n_epochs": "80"})
    assert (resolved.values.n_epochs, resolved.values.patience) == (80, 9)
    assert resolved.origins["n_epochs"] == "trainer's name"


def test_what_a_checkpoint_records_goes_over_the_name_as_an_earlier_start_asked_for_it():
    resolved = resolve_settings(ExtSettings, {}, recipe={"n_epochs": "80", "patience": "50"})
    over = resolved.over({"n_epochs": 80, "patience": 100})
    assert (over.values.n_epochs, over.values.patience) == (80, 100)
    assert (over.origins["n_epochs"], over.origins["patience"]) == ("trainer's name", "checkpoint")


def test_a_training_that_goes_on_may_be_given_another_value_than_its_name_says():
    resolved = resolve_settings(
        ExtSettings, {"nnUNet_patience": "100"}, recipe={"patience": "50"}, is_continued=True
    )
    assert resolved.values.patience == 100
    assert resolved.origins["patience"] == "environment nnUNet_patience"
    assert resolved.over({"patience": 50}).values.patience == 100
    assert (
        "Note: patience is 50 in the trainer's name, but nnUNet_patience is '100': this training goes on "
        "with the latter." in resolved.lines()
    )


def test_the_optimizer_of_a_training_that_goes_on_stays_that_of_its_name():
    with pytest.raises(SettingsError, match="optimizer cannot change while a training goes on"):
        resolve_settings(
            ExtSettings, {"nnUNet_optimizer": "adamw"}, recipe={"optimizer": "lion"}, is_continued=True
        )


def contradiction(recipe, **variables):
    with pytest.raises(SettingsError) as raised:
        resolve_settings(ExtSettings, variables, recipe=recipe, ignore_case=False)
    return str(raised.value).splitlines()[1:]


def test_name_and_variable_may_say_the_same_in_other_words():
    same = resolve_settings(ExtSettings, {"nnUNet_initial_lr": "0.010"}, recipe={"initial_lr": "1e-2"})
    assert same.values.initial_lr == 0.01


def test_name_and_variable_or_file_that_contradict_each_other_are_refused(config):
    path = config("patience: 3")
    recipe = {"n_epochs": "80", "patience": "4"}
    assert contradiction(recipe, nnUNet_n_epochs="90", nnUNet_ext_config=path) == [
        "  - n_epochs is 80 in the trainer's name, but nnUNet_n_epochs is '90': leave out one of them, or go "
        "on with the other value by --c.",
        f"  - patience is 4 in the trainer's name, but patience in {path} is '3': leave out one of them, or "
        "go on with the other value by --c.",
    ]


def test_a_value_in_the_name_is_checked_as_a_variable_is():
    (fault,) = contradiction({"n_epochs": "0"})
    assert fault == "  - n_epochs in the trainer's name is '0'; allowed is a whole number, at least 1."
    (fault,) = contradiction({"n_epochs": "3"}, nnUNet_n_epochs="many")
    assert fault.startswith("  - nnUNet_n_epochs is 'many'; allowed")
