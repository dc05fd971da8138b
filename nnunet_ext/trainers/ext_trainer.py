"""The trainer whose every part is a setting."""

from __future__ import annotations

from typing import ClassVar

from nnunet_ext.trainers.averaged import Averaged
from nnunet_ext.trainers.configured import Configured
from nnunet_ext.trainers.continued import Continued
from nnunet_ext.trainers.interruptible import Interruptible
from nnunet_ext.trainers.limited import Limited
from nnunet_ext.trainers.record.recorded import Recorded
from nnunet_ext.trainers.settings import ExtSettings, TrainingSettings
from nnunet_ext.trainers.start import Pretrained
from nnunet_ext.trainers.stored import Stored
from nnunet_ext.trainers.validated import Validated


class nnUNetTrainerExt(
    Recorded, Interruptible, Continued, Averaged, Pretrained, Validated, Stored, Limited, Configured
):
    """A training whose every part is a setting; the defaults are nnU-Net's to the last bit.

    Each class that it is made of adds one part around the next: the order is that in which a hook goes
    through them.
    """

    settings_model: ClassVar[type[TrainingSettings]] = ExtSettings
