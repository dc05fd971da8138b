"""The moving average of a network's weights, beside the weights that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.networks.checkpoint_file import KEY, read_checkpoint
from nnunet_ext.trainers.checkpoints import WEIGHTS
from nnunet_ext.trainers.trainer import nnUNetTrainerEarlyStopping


class WeightAverage:
    """Averages the weights of a network over the steps of its training.

    The network holds its trained weights, or, while the average is `shown`, the average: the two are
    exchanged in place, so that what is compiled or wrapped around the network stays as it is.

    Attributes:
        n_steps: steps averaged so far.
        is_shown: whether the network holds the average.
    """

    def __init__(self, network: torch.nn.Module, decay: float, n_steps: int = 0) -> None:
        from timm.utils import ModelEmaV3

        self._network = network
        # Early weights would weigh too long on a constant average: it is a shorter one at first. And
        # nnU-Net's networks hold many weights under several names: timm goes through their state, and
        # would average these several times a step, unless it is told to go through parameters.
        self._ema = ModelEmaV3(network, decay=decay, use_warmup=True, exclude_buffers=True)
        self.n_steps = n_steps
        self.is_shown = False

    def update(self) -> None:
        """Take in the weights of one more step."""
        self.n_steps += 1
        self._ema.update(self._network, step=self.n_steps)

    def show(self, wanted: bool = True) -> None:
        """Put the average into the network, or the trained weights back."""
        if wanted is not self.is_shown:
            with torch.no_grad():
                for one, other in zip(*map(_tensors, self._both()), strict=True):
                    kept = one.clone()
                    one.copy_(other)
                    other.copy_(kept)
            self.is_shown = wanted

    @property
    def average(self) -> dict[str, Any]:
        """The averaged weights."""
        return self._both()[not self.is_shown].state_dict()

    @property
    def trained(self) -> dict[str, Any]:
        """The weights of the last step."""
        return self._both()[self.is_shown].state_dict()

    def _both(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        return self._network, self._ema.module


def _tensors(network: torch.nn.Module) -> Iterator[torch.Tensor]:
    """All that a network holds, each tensor once however many names it has."""
    yield from network.parameters()
    yield from network.buffers()


class Averaged(nnUNetTrainerEarlyStopping):
    """Keeps an average of the weights where `ema_decay` is set.

    Then validation, predictions and `network_weights` of checkpoints are those of the average, and the
    trained weights stand beside them. Outside of a training the network holds the average too.
    """

    made_step: bool  # of the class that steps
    average: WeightAverage | None = None
    _trained: dict[str, Any] | None = None  # read from a checkpoint, until the training begins

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A step, after which the average takes in its weights; one that was not made has none."""
        output: dict[str, Any] = super().train_step(batch)
        if self.average is not None and self.made_step:
            self.average.update()
        return output

    def on_train_start(self) -> None:
        """Begin the average where there is to be one, and go on with the trained weights."""
        super().on_train_start()
        network = self._bare_network()
        if self.settings.ema_decay is not None:
            n_steps = self._resumed.record.get("n_averaged", 0) if self._resumed else 0
            self.average = WeightAverage(network, self.settings.ema_decay, n_steps)
        if self._trained is not None:
            network.load_state_dict(self._trained)
            self._trained = None

    def on_validation_epoch_start(self) -> None:
        """Validate with the average."""
        super().on_validation_epoch_start()
        self._show_average(True)

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Go on training with the trained weights."""
        super().on_validation_epoch_end(val_outputs)
        self._show_average(False)

    def on_train_end(self) -> None:
        """Leave the average in the network."""
        super().on_train_end()
        self._show_average(True)

    def _show_average(self, wanted: bool) -> None:
        if self.average is not None:
            self.average.show(wanted)

    def _weights_to_predict_with(self) -> Any:
        return self.average.average if self.average else super()._weights_to_predict_with()

    def _record(self) -> dict[str, Any]:
        record = super()._record()
        if self.average is not None:
            return {**record, "n_averaged": self.average.n_steps, WEIGHTS: self.average.trained}
        if self._trained is not None and self._resumed is not None:  # read, and written again untrained
            return {**record, "n_averaged": self._resumed.record["n_averaged"], WEIGHTS: self._trained}
        return record

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load a checkpoint; its average, and the trained weights once a training begins."""
        super().load_checkpoint(filename_or_checkpoint)
        self._trained = None
        if self._resumed is not None and "n_averaged" in self._resumed.record:
            content = read_checkpoint(Path(filename_or_checkpoint), self.device)
            self._trained = content[KEY][WEIGHTS]

    def _restore_best(self) -> None:
        """Load the weights of the best epoch: an average, to which no trained weights belong."""
        super()._restore_best()
        if self._is_best_restored:
            self.average = self._trained = None
