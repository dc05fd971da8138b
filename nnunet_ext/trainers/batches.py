"""Batches that can be repeated: drawn from seeds by their number, or kept in memory."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nnunet_ext.trainers.policies.sampling import SeedStream, seed_of


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Restore at the end of the block the random states from which batches are drawn."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def seed_for_batches(seed: int) -> None:
    """Seed the generators of nnU-Net's loaders and transforms; those of GPUs stay as they are."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


@dataclass(frozen=True)
class Numbering:
    """Numbers and seeds of the batches of a loader.

    Attributes:
        seed: seed of the training.
        rank: rank of this process among those that train together.
        stream: kind of the batches, for training or validation.
        first: number of the first batch, counted over the whole training.
    """

    seed: int
    rank: int
    stream: SeedStream
    first: int = 0

    def seed_of(self, number: int) -> int:
        """Compute the seed of the batch of this number."""
        return seed_of(self.seed, self.rank, self.stream, number)


class NumberedLoader:
    """A loader of nnU-Net whose batch of a number is the same whichever worker draws it.

    Of W workers, worker w draws the batches w, w + W, … after the first. Together they draw the same batches
    as one worker, but hand them over in the order in which they are ready.

    Args:
        loader: nnU-Net's loader.
        numbering: numbers and seeds of the batches.
        n_workers: number of workers, 0 for none.
    """

    def __init__(self, loader: Any, numbering: Numbering, n_workers: int = 0) -> None:
        self.loader, self.numbering = loader, numbering
        self._step = max(1, n_workers)
        self._number = numbering.first

    @property
    def transforms(self) -> Any:
        """The loader's transforms, which nnU-Net writes into its debug.json."""
        return self.loader.transforms

    def set_thread_id(self, thread_id: int) -> None:
        """Tell the loader which worker it is, counted from 0."""
        self.loader.set_thread_id(thread_id)
        self._number = self.numbering.first + thread_id

    def __iter__(self) -> NumberedLoader:
        return self

    def __next__(self) -> Any:
        with random_states_kept():
            seed_for_batches(self.numbering.seed_of(self._number))
            batch = next(self.loader)
        self._number += self._step
        return batch


class KeptBatches:
    """The same batches in the same order, again and again.

    Each batch is handed out as a copy, because nnU-Net's validation changes the target where there is an
    ignore label.

    Args:
        loader: nnU-Net's loader.
        numbering: numbers and seeds of the batches.
        n_batches: number of batches.

    Attributes:
        batches: the batches.
    """

    def __init__(self, loader: Any, numbering: Numbering, n_batches: int) -> None:
        numbered = NumberedLoader(loader, numbering)
        self.batches = [next(numbered) for _ in range(n_batches)]
        self._turn = itertools.cycle(range(n_batches))

    @property
    def n_bytes(self) -> int:
        """Memory of the batches in bytes."""
        return sum(_n_bytes(part) for batch in self.batches for part in batch.values())

    def __iter__(self) -> KeptBatches:
        return self

    def __next__(self) -> Any:
        return copy.deepcopy(self.batches[next(self._turn)])


def _n_bytes(part: Any) -> int:
    if isinstance(part, (list, tuple)):
        return sum(map(_n_bytes, part))
    return part.numel() * part.element_size() if isinstance(part, torch.Tensor) else 0
