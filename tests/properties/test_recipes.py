"""The laws of settings in a trainer's name, and of learning rates."""

import math
from types import NoneType
from typing import Literal, get_args, get_origin

from hypothesis import given
from hypothesis import strategies as st

from nnunet_ext.trainers.policies.schedules import Schedule
from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.recipe_names import CODES, format_recipe, parse_recipe
from nnunet_ext.trainers.settings.resolution import resolve_settings

KINDS = get_args(ExtSettings.model_fields["schedule"].annotation)


def limit(field, *names):
    found = [getattr(one, name) for one in field.metadata for name in names if hasattr(one, name)]
    return found[0] if found else None


def values_of(field):
    """Any value that a setting may have."""
    kinds = get_args(field.annotation) or (field.annotation,)
    if get_origin(field.annotation) is Literal:
        return st.sampled_from(kinds)
    if kinds[0] is bool:
        return st.booleans()
    low, high = limit(field, "ge", "gt"), limit(field, "le", "lt")
    if kinds[0] is str:
        return st.sampled_from(("mean", "worst"))
    if kinds[0] is int:
        numbers = st.integers(low, 10**9)
        return st.none() | numbers if NoneType in kinds else numbers
    numbers = st.floats(
        low,
        high,
        exclude_min=limit(field, "gt") is not None,
        exclude_max=limit(field, "lt") is not None,
        allow_infinity=False,
    )
    return st.none() | numbers if NoneType in kinds else numbers


SETTINGS = st.fixed_dictionaries(
    {}, optional={name: values_of(ExtSettings.model_fields[name]) for name in CODES}
)


def is_allowed(values):
    """Whether they fit together as well as each alone."""
    patience = values.get("patience")
    if patience is not None and values.get("val_every", 1) > patience:
        return False
    if values.get("loss") == "focal_tversky" and values.get("focal_gamma") == 0:
        return False
    return values.get("warmup_epochs", 0) < values.get("n_epochs", 1000) and not any(
        values.get(one, 1) == values.get(other, 1) == 0
        for one, other in (("dice_weight", "term_weight"), ("tversky_alpha", "tversky_beta"))
    )


@given(SETTINGS.filter(is_allowed))
def test_settings_written_into_a_name_are_read_from_it(values):
    name = format_recipe(values)
    assert name.isidentifier()
    recipe = parse_recipe(name)
    resolved = resolve_settings(ExtSettings, {}, recipe=recipe.values)
    assert {setting: getattr(resolved.values, setting) for setting in values} == values
    assert format_recipe({setting: getattr(resolved.values, setting) for setting in recipe.values}) == name


HISTORIES = st.lists(st.floats(0, 1) | st.just(math.nan), max_size=30)


@given(st.sampled_from(KINDS), st.integers(0, 9), st.integers(1, 9), st.integers(1, 3), HISTORIES)
def test_a_learning_rate_is_never_above_the_initial_one_nor_below_zero(kind, warmup, epochs, factor, history):
    schedule = Schedule(
        schedule=kind,
        initial_lr=0.01,
        n_epochs=30,
        warmup_epochs=warmup,
        restart_epochs=epochs,
        restart_factor=factor,
        step_epochs=epochs,
        lr_factor=0.5,
        plateau_epochs=epochs,
    )
    rates = [schedule.lr(epoch, history[:epoch]) for epoch in range(30)]
    assert all(0 < rate <= 0.01 for rate in rates)
    assert rates[warmup] == 0.01


@given(st.sampled_from(KINDS), HISTORIES)
def test_the_learning_rate_of_an_epoch_depends_on_nothing_later(kind, history):
    schedule = Schedule(schedule=kind, initial_lr=0.01, n_epochs=40, plateau_epochs=2)
    for epoch in range(len(history)):
        assert schedule.lr(epoch, history) == schedule.lr(epoch, history[:epoch])
