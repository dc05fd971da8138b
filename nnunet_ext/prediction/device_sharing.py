"""Share one device between networks: all stay on it while they fit, else each is moved there for its turn."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
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

    def share_device(self, make_room: Callable[[], bool]) -> None:
        """Take the function that moves other models away, which is called where memory runs out."""
        ...

    def leave_device(self) -> None:
        """Take the network back into the host's memory."""
        ...


class Device:
    """The device that several models compute on, one after the other.

    Attributes:
        models: in the order in which they run.
    """

    def __init__(self, models: Sequence[MovableModel]) -> None:
        self.models = models
        self._fit_together = len(models) > 1
        for model in models:
            model.share_device(functools.partial(self._make_room, model))

    def logits(self, index: int, data: NDArray[np.float32]) -> Iterator[NDArray[Any]]:
        """Yield each pass's logits of one model; other models leave the device once memory has run out.

        Raises:
            ProbabilitiesError: a value is not finite.
            RuntimeError: the model does not fit alone either.
        """
        model = self.models[index]
        if not self._fit_together:
            self._move_others_away(model)
        for weights in model.passes:
            yield model.logits(weights, data)

    def _make_room(self, model: MovableModel) -> bool:
        """Move the others away, for the rest of the run; return False where they were already."""
        if not self._fit_together:
            return False
        self._fit_together = False
        self._move_others_away(model)
        return True

    def _move_others_away(self, model: MovableModel) -> None:
        for other in self.models:
            if other is not model:
                other.leave_device()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
