"""Seeds for all that a training draws: each batch has one of its own, by its number."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What is drawn; the numbers are part of every seed and must stay."""

    NETWORK = 0
    STEP = 1
    TRAINING = 2
    VALIDATION = 3
    FIXED_VALIDATION = 4


def seed_of(seed: int, rank: int, stream: Stream, number: int) -> int:
    """The seed, below 2**32, of one thing that is drawn.

    Args:
        seed: the training's.
        rank: the process that draws it, where several train together.
        stream: what it is.
        number: which of them, counted over the whole training.
    """
    return int(np.random.SeedSequence((seed, rank, stream, number)).generate_state(1)[0])
