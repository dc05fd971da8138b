"""Trainers for nnU-Net to find: the variable `nnUNet_extTrainer` names the folder of this file.

nnU-Net imports the files of that folder as top-level modules and removes them from `sys.modules` afterwards.
The classes are therefore defined in the package and only re-exported here.
"""

from __future__ import annotations

from typing import Any

from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt
from nnunet_ext.trainers.recipes import trainer_class
from nnunet_ext.trainers.settings.recipe_names import is_recipe
from nnunet_ext.trainers.trainer import nnUNetTrainerCustomEpochs, refusals_end_the_program
from nnunet_ext.trainers.unet_plus_plus import nnUNetTrainerUNetPlusPlus

__all__ = [
    "nnUNetTrainerCustomEpochs",
    "nnUNetTrainerEarlyStopping",
    "nnUNetTrainerExt",
    "nnUNetTrainerUNetPlusPlus",
]


def __getattr__(name: str) -> Any:
    """Make the trainer of a name with settings in it; a wrong name ends the program with the reason.

    nnU-Net would answer an AttributeError with "Could not find requested nnunet trainer" only.
    """
    if not is_recipe(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with refusals_end_the_program():
        return trainer_class(name)
