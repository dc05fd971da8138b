"""Share one device between networks: all stay on it while they fit, else each is moved there for its turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nnunet_ext.prediction.models import Weights


class MovableModel(Protocol):
    """A model that can leave the device."""

    @property
    def passes(self) -> list[list[Weights]]:
        """The weights of each pass."""
        ...

    def logits(self, weights: Sequence[Weights], data: NDArray[np.float32]) -> NDArray[Any]:
        """Compute the network's output."""
        ...

    def leave_device(self) -> None:
        """Take the network back into the host's memory."""


class Device:
    """The device that several models compute on, one after the other.

    Attributes:
        models: in the order in which they run.
    """

    def __init__(self, models: Sequence[MovableModel]) -> None:
        self.models = models
        self._fit_together = True

    def logits(self, index: int, data: NDArray[np.float32]) -> Iterator[NDArray[Any]]:
        """Yield each pass's logits of one model; other models leave the device once memory has run out.

        Raises:
            torch.cuda.OutOfMemoryError: the model does not fit alone either.
        """
        model = self.models[index]
        if not self._fit_together:
            self._move_others_away(model)
        for weights in model.passes:
            logits = self._logits_if_they_fit(model, weights, data) if self._fit_together else None
            # The second attempt is outside of `except`: its exception holds the tensors of the first attempt.
            yield model.logits(weights, data) if logits is None else logits

    def _logits_if_they_fit(
        self, model: MovableModel, weights: Sequence[Weights], data: NDArray[np.float32]
    ) -> NDArray[Any] | None:
        """Compute logits beside the other models; where memory runs out, move these away and return None."""
        try:
            return model.logits(weights, data)
        except torch.cuda.OutOfMemoryError:
            self._fit_together = False
        self._move_others_away(model)
        return None

    def _move_others_away(self, model: MovableModel) -> None:
        for other in self.models:
            if other is not model:
                other.leave_device()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
