"""The trainer whose parts are all settings."""

from __future__ import annotations

from typing import ClassVar

from nnunet_ext.trainers.mixins.averaging import AveragingMixin
from nnunet_ext.trainers.mixins.continuation import ContinuationMixin
from nnunet_ext.trainers.mixins.interruption import InterruptionMixin
from nnunet_ext.trainers.mixins.limits import LimitsMixin
from nnunet_ext.trainers.mixins.losses import LossesMixin
from nnunet_ext.trainers.mixins.pretrained import PretrainedMixin
from nnunet_ext.trainers.mixins.probabilities import ProbabilitiesMixin
from nnunet_ext.trainers.mixins.record import RecordMixin
from nnunet_ext.trainers.mixins.schedules import SchedulesMixin
from nnunet_ext.trainers.mixins.steps import StepsMixin
from nnunet_ext.trainers.mixins.validation import ValidationMixin
from nnunet_ext.trainers.settings.definition import ExtSettings, TrainingSettings


class nnUNetTrainerExt(
    RecordMixin,
    InterruptionMixin,
    ContinuationMixin,
    AveragingMixin,
    PretrainedMixin,
    ValidationMixin,
    ProbabilitiesMixin,
    LimitsMixin,
    StepsMixin,
    SchedulesMixin,
    LossesMixin,
):
    """nnUNetTrainerEarlyStopping with optimizer, schedule, loss and everything else as settings.

    All settings, with types, units and defaults, are the fields of `settings.definition.ExtSettings`, which
    `nnunet_ext train --help` lists; `patience` is none by default. With the defaults the training is
    nnU-Net's to the last bit. Settings can also stand in the trainer's name, as in
    `nnUNetTrainerExt_ep300_adamw_lr1em3_cosine`.

    A call of one of nnU-Net's hooks goes through the mixins in their order above: each acts before or after
    those that follow, and nnU-Net's own method is the last.

    Source of methods: see `policies`, `losses` and `optimizers`.
    """

    settings_model: ClassVar[type[TrainingSettings]] = ExtSettings
