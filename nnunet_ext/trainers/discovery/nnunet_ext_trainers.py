"""The door through which nnU-Net finds our trainers: name this folder in `nnUNet_extTrainer`.

nnU-Net imports what lies in that folder as top-level modules and forgets them again, so the classes live
in the package and are only shown here. A trainer with settings in its name is made when it is asked for.
"""

from __future__ import annotations

from typing import Any

from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt
from nnunet_ext.trainers.recipes import trainer_class
from nnunet_ext.trainers.settings.recipe_names import is_recipe
from nnunet_ext.trainers.trainer import (
    nnUNetTrainerCustomEpochs,
    nnUNetTrainerEarlyStopping,
    refusals_end_the_program,
)
from nnunet_ext.trainers.unet_plus_plus import nnUNetTrainerUNetPlusPlus

__all__ = [
    "nnUNetTrainerCustomEpochs",
    "nnUNetTrainerEarlyStopping",
    "nnUNetTrainerExt",
    "nnUNetTrainerUNetPlusPlus",
]


def __getattr__(name: str) -> Any:
    """The trainer of a recipe; one that is badly written ends the program and says why.

    An AttributeError would only become nnU-Net's "Could not find requested nnunet trainer".
    """
    if not is_recipe(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with refusals_end_the_program():
        return trainer_class(name)
