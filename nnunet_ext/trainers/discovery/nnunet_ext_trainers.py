"""The door through which nnU-Net finds our trainers: name this folder in `nnUNet_extTrainer`.

nnU-Net imports what lies in that folder as top-level modules and forgets them again, so the classes live
in the package and are only shown here.
"""

from nnunet_ext.trainers.trainer import nnUNetTrainerCustomEpochs, nnUNetTrainerEarlyStopping

__all__ = ["nnUNetTrainerCustomEpochs", "nnUNetTrainerEarlyStopping"]
