"""Moving average of the network's weights, with which a training validates and predicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.networks.checkpoint_file import KEY, read_checkpoint
from nnunet_ext.trainers.checkpoints import WEIGHTS, CheckpointRecord
from nnunet_ext.trainers.mixins.steps import StepsMixin


class WeightAverage:
    """Moving average of a network's weights over the steps of its training.

    The network holds its trained weights, or the average while that is shown. The two are exchanged in
    place, so a network that is compiled or wrapped stays valid.

    Args:
        network: the network, without wrappers.
        decay: share of the old weights in the average, 0 to 1.
        n_steps: number of steps that an average taken from a checkpoint holds.

    Attributes:
        n_steps: number of steps averaged so far.
        is_shown: whether the network holds the average.

    Source: timm's `ModelEmaV3`.
    """

    def __init__(self, network: torch.nn.Module, decay: float, n_steps: int = 0) -> None:
        from timm.utils import ModelEmaV3

        self._network = network
        # With a constant decay the first weights would count for too long, so timm's warm-up begins with a
        # lower decay. nnU-Net's networks hold many weights under several names: timm would average them
        # several times a step if it went through their state, not through their parameters.
        self._ema = ModelEmaV3(network, decay=decay, use_warmup=True, exclude_buffers=True)
        self.n_steps = n_steps
        self.is_shown = False

    def update(self) -> None:
        """Add the weights of one more step to the average."""
        self.n_steps += 1
        self._ema.update(self._network, step=self.n_steps)

    def show(self, wanted: bool = True) -> None:
        """Put the average into the network, or with `wanted` false the trained weights."""
        if wanted is not self.is_shown:
            with torch.no_grad():
                for one, other in zip(*map(_tensors, self._both()), strict=True):
                    kept = one.clone()
                    one.copy_(other)
                    other.copy_(kept)
            self.is_shown = wanted

    @property
    def average(self) -> dict[str, Any]:
        """State of the averaged weights."""
        return self._both()[not self.is_shown].state_dict()

    @property
    def trained(self) -> dict[str, Any]:
        """State of the weights of the last step."""
        return self._both()[self.is_shown].state_dict()

    def _both(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        return self._network, self._ema.module


def _tensors(network: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Parameters and buffers of a network, each once however many names it has."""
    yield from network.parameters()
    yield from network.buffers()


class AveragingMixin(StepsMixin):
    """Keeps a moving average of the weights where `ema_decay` is set.

    Validation, predictions and the `network_weights` of checkpoints then use the average, and a checkpoint
    holds the trained weights in the record. After a training the network holds the average.

    Attributes:
        average: the average; None where there is none, and before the training starts.
    """

    average: WeightAverage | None = None
    _trained: dict[str, Any] | None = None  # read from a checkpoint, until the training begins

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make a step and add its weights to the average, unless the step was skipped."""
        output: dict[str, Any] = super().train_step(batch)
        if self.average is not None and self.steps.is_last_made:
            self.average.update()
        return output

    def on_train_start(self) -> None:
        """Make the average if there is to be one, and load the trained weights of the checkpoint."""
        super().on_train_start()
        network = self._bare_network()
        if self.settings.ema_decay is not None:
            n_steps = (self._resumed.record.n_averaged or 0) if self._resumed else 0
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

    def _record(self) -> CheckpointRecord:
        record = super()._record()
        if self.average is not None:
            return replace(record, n_averaged=self.average.n_steps, trained_weights=self.average.trained)
        if (
            self._trained is not None and self._resumed is not None
        ):  # nothing was trained since the checkpoint
            n_averaged = self._resumed.record.n_averaged
            return replace(record, n_averaged=n_averaged, trained_weights=self._trained)
        return record

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load a checkpoint with its average; its trained weights are used when the training starts."""
        super().load_checkpoint(filename_or_checkpoint)
        self._trained = None
        if self._resumed is not None and self._resumed.record.n_averaged is not None:
            content = read_checkpoint(Path(filename_or_checkpoint), self.device)
            self._trained = content[KEY][WEIGHTS]

    def _restore_best(self) -> bool:
        """Load the weights of the best epoch; they are an average, without trained weights beside it."""
        is_restored = super()._restore_best()
        if is_restored:
            self.average = self._trained = None
        return is_restored
