"""Settings in a trainer's name."""

from typing import get_args

import pytest

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.recipe_names import (
    CODES,
    SETTINGS,
    WORDS,
    format_recipe,
    is_recipe,
    parse_recipe,
)

# Too long for a name, or nothing that changes what is learnt.
WITHOUT_CODE = {"betas", "label_weights", "label_bests", "stop_at", "pretrained_weights", "tensorboard"}


def test_a_name_says_what_its_codes_say():
    recipe = parse_recipe("nnUNetTrainerExt_ep300_pat50_adamw_cosine_dicefocal_acc2_lr1em3_ema0p999_dicenone")
    assert recipe.values == {
        "n_epochs": "300",
        "patience": "50",
        "optimizer": "adamw",
        "schedule": "cosine",
        "loss": "dice_focal",
        "accumulate": "2",
        "initial_lr": "1e-3",
        "ema_decay": "0.999",
        "stop_at_dice": "none",
    }


def test_the_trainer_itself_has_no_settings_in_its_name():
    assert parse_recipe("nnUNetTrainerExt").values == {}
    assert format_recipe({}) == "nnUNetTrainerExt"
    assert not is_recipe("nnUNetTrainerExt")


def test_every_setting_that_fits_into_a_name_has_a_code():
    assert set(CODES) == set(ExtSettings.model_fields) - WITHOUT_CODE


def test_no_two_settings_share_a_code_and_no_choice_looks_like_a_number():
    assert len(SETTINGS) == sum(bool(code) for code in CODES.values())
    choices = {setting for setting, code in CODES.items() if not code}
    assert {setting for setting, _ in WORDS.values()} == choices
    kinds = {name: ExtSettings.model_fields[name].annotation for name in choices - {"monitor"}}
    assert sum(len(get_args(kind)) for kind in kinds.values()) + len(("mean", "worst")) == len(WORDS)
    assert all(word.isidentifier() and "_" not in word for word in WORDS)
    assert not WORDS.keys() & SETTINGS.keys()


@pytest.mark.parametrize(
    "code", ["", "ep", "epx", "ep3x", "adamww", "3", "none", "ep-3", "ep3p", "lr1e", "Adam", "ep³", "ep3\n"]
)
def test_an_unknown_code_is_refused_with_the_right_ones(code):
    with pytest.raises(SettingsError) as raised:
        parse_recipe(f"nnUNetTrainerExt_pat5_{code}")
    message = str(raised.value)
    assert message.startswith(f"Trainer nnUNetTrainerExt_pat5_{code}: {code!r} is no code of a setting.")
    assert all(word in message.split() for word in ("ep", "novograd", "dicefocal", "ampbf16"))
    assert len(message) < 1500 and all(len(line) <= 100 for line in message.splitlines()[1:])


@pytest.mark.parametrize(("code", "meant"), [("adamww", "adamw"), ("epp3", "ep…"), ("cosin", "cosine")])
def test_a_code_that_is_nearly_one_is_answered_with_it(code, meant):
    with pytest.raises(SettingsError, match=f"{code!r} is no code of a setting. Did you mean {meant}?"):
        parse_recipe(f"nnUNetTrainerExt_{code}")


@pytest.mark.parametrize("codes", ["ep3_ep4", "ep3_ep3", "adam_sgd"])
def test_a_setting_given_twice_is_refused_with_both_codes(codes):
    first, second = codes.split("_")
    with pytest.raises(SettingsError, match=f"is given twice, as {first} and as {second}: leave out one"):
        parse_recipe(f"nnUNetTrainerExt_{codes}")


def test_what_has_no_code_cannot_be_carried():
    with pytest.raises(SettingsError, match="betas cannot be carried in a trainer's name"):
        format_recipe({"betas": (0.9, 0.99)})
    with pytest.raises(SettingsError, match="'lbfgs' is none of its choices"):
        format_recipe({"optimizer": "lbfgs"})
