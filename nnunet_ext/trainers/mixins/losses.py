"""The loss that the settings choose, in nnU-Net's deep supervision."""

from __future__ import annotations

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.losses.build import build_loss
from nnunet_ext.trainers.losses.options import LossOptions
from nnunet_ext.trainers.settings.fields import options_from
from nnunet_ext.trainers.trainer import refusals_end_the_program

NNUNETS_LOSS = "dice_ce"


class LossesMixin(nnUNetTrainerEarlyStopping):
    """Builds the loss by `loss` and its options; nnU-Net builds its own where all have their defaults."""

    def _build_loss(self) -> torch.nn.Module:
        """Build nnU-Net's loss, or another one in its place within nnU-Net's deep supervision."""
        whole: torch.nn.Module = super()._build_loss()
        options = options_from(self.settings, LossOptions)
        if self.settings.loss == NNUNETS_LOSS and options == LossOptions():
            return whole
        with refusals_end_the_program():
            loss = build_loss(
                self.settings.loss,
                label_manager=self.label_manager,
                batch_dice=self.configuration_manager.batch_dice,
                is_ddp=self.is_ddp,
                options=options,
            ).to(self.device)
        if self._do_i_compile() and getattr(loss, "dc", None) is not None:
            loss.dc = torch.compile(loss.dc)  # nnU-Net compiles the overlap term only
        if not isinstance(whole, DeepSupervisionWrapper):
            return loss
        whole.loss = loss
        return whole
