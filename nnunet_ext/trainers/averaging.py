"""The moving average of a network's weights, beside the weights that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch


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
