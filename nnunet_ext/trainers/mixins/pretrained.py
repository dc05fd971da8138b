"""Pretrained weights at the beginning of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nnunet_ext.files.names import at_home
from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.pretrained import PretrainedWeights, read_pretrained, transfer
from nnunet_ext.trainers.trainer import refusals_end_the_program


class PretrainedMixin(nnUNetTrainerEarlyStopping):
    """Loads the file `pretrained_weights` into the network of a new training, not of a continued one."""

    _pretrained: PretrainedWeights | None = None  # from the check of settings to the start of the training

    def _check_settings(self, settings: Any, device: torch.device) -> None:
        super()._check_settings(settings, device)
        # A continued training does not need the file, which may be gone by then.
        if settings.pretrained_weights is not None and not self._is_continued:
            self._pretrained = _read(settings.pretrained_weights)

    def on_train_start(self) -> None:
        """Load the weights before other parts, such as their average, are made from the network's."""
        asked = self.settings.pretrained_weights
        if asked is not None and self._resumed is None:
            if not self.was_initialized:
                self.initialize()
            with refusals_end_the_program():
                weights = self._pretrained or _read(asked)
                moved = transfer(weights, self._bare_network(), self.dataset_json)
            for line in moved.lines():
                self.print_to_log_file(line, add_timestamp=False)
        self._pretrained = None
        super().on_train_start()


def _read(path: str) -> PretrainedWeights:
    return read_pretrained(at_home(Path(path)))
