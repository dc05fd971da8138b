"""The trainer whose every part is a setting, and its recipes by name."""

from __future__ import annotations

import functools
from typing import ClassVar

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.averaged import Averaged
from nnunet_ext.trainers.configured import Configured
from nnunet_ext.trainers.continued import Continued
from nnunet_ext.trainers.interruptible import Interruptible
from nnunet_ext.trainers.limited import Limited
from nnunet_ext.trainers.recipe_names import is_recipe, parse_recipe
from nnunet_ext.trainers.settings import ExtSettings, TrainingSettings
from nnunet_ext.trainers.validated import Validated


class nnUNetTrainerExt(Interruptible, Continued, Averaged, Validated, Limited, Configured):
    """A training whose every part is a setting; the defaults are nnU-Net's to the last bit.

    Each class that it is made of adds one part around the next: the order is that in which a hook goes
    through them.
    """

    settings_model: ClassVar[type[TrainingSettings]] = ExtSettings


@functools.cache
def trainer_class(name: str) -> type[nnUNetTrainerExt]:
    """The trainer whose name carries its settings, one class a name.

    Raises:
        SettingsError: a code in the name is unknown or given twice.
    """
    recipe = parse_recipe(name)
    content = {"__module__": __name__, "__doc__": f"{nnUNetTrainerExt.__name__} with settings in its name."}
    return type(name, (nnUNetTrainerExt,), {**content, "recipe": recipe.values})


def __getattr__(name: str) -> type[nnUNetTrainerExt]:
    """Make the trainer of a recipe when it is asked for, by nnU-Net or by pickle."""
    if not is_recipe(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return trainer_class(name)
    except SettingsError as error:
        raise AttributeError(str(error)) from error
