"""The trainer whose every part is a setting."""

from __future__ import annotations

from typing import ClassVar

from nnunet_ext.trainers.mixins.averaging import Averaged
from nnunet_ext.trainers.mixins.configured import Configured
from nnunet_ext.trainers.mixins.continuation import Continued
from nnunet_ext.trainers.mixins.interruption import Interruptible
from nnunet_ext.trainers.mixins.limits import Limited
from nnunet_ext.trainers.mixins.pretrained import Pretrained
from nnunet_ext.trainers.mixins.record import Recorded
from nnunet_ext.trainers.mixins.stored import Stored
from nnunet_ext.trainers.mixins.validation import Validated
from nnunet_ext.trainers.settings.definition import ExtSettings, TrainingSettings


class nnUNetTrainerExt(
    Recorded, Interruptible, Continued, Averaged, Pretrained, Validated, Stored, Limited, Configured
):
    """A training whose every part is a setting; the defaults are nnU-Net's to the last bit.

    Each class that it is made of adds one part around the next: the order is that in which a hook goes
    through them.
    """

    settings_model: ClassVar[type[TrainingSettings]] = ExtSettings
