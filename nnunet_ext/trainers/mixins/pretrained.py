"""Where a training begins: with the weights of another, as far as these fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nnunet_ext.files.names import at_home
from nnunet_ext.trainers.pretrained import PretrainedWeights, read_pretrained, transfer
from nnunet_ext.trainers.trainer import nnUNetTrainerEarlyStopping, refusals_end_the_program


class Pretrained(nnUNetTrainerEarlyStopping):
    """Begins with `pretrained_weights`; a training that goes on from a checkpoint has what it needs there."""

    _pretrained: PretrainedWeights | None = None  # read, until the training begins

    def _check(self, settings: Any, device: torch.device) -> None:
        super()._check(settings, device)
        # The file may be gone by the time a training goes on.
        if settings.pretrained_weights is not None and not self._is_continued:
            self._pretrained = _read(settings.pretrained_weights)

    def on_train_start(self) -> None:
        """Load the weights where a training begins, before anything is made from the network's."""
        asked = self.settings.pretrained_weights
        if asked is not None and self._loaded_from is None:
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
