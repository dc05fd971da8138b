"""Trainers with settings in their names; their classes are made when they are asked for."""

from __future__ import annotations

import functools

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt
from nnunet_ext.trainers.settings.recipe_names import is_recipe, parse_recipe
from nnunet_ext.trainers.unet_plus_plus import nnUNetTrainerUNetPlusPlus

BASES = {base.__name__: base for base in (nnUNetTrainerExt, nnUNetTrainerUNetPlusPlus)}


@functools.cache
def trainer_class(name: str) -> type[nnUNetTrainerExt]:
    """Make the trainer of a name with settings in it; the same name always gives the same class.

    Raises:
        SettingsError: a code in the name is unknown, or a setting is given twice.
    """
    recipe = parse_recipe(name)
    base = BASES[recipe.base]
    content = {"__module__": __name__, "__doc__": f"{base.__name__} with settings in its name."}
    return type(name, (base,), {**content, "recipe": recipe.values})


def __getattr__(name: str) -> type[nnUNetTrainerExt]:
    """Make the trainer that nnU-Net or pickle asks for by its name."""
    if not is_recipe(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return trainer_class(name)
    except SettingsError as error:
        raise AttributeError(str(error)) from error
