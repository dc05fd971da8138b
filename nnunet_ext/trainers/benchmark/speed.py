"""How fast a training's steps were, in a few lines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIB = 2**20


@dataclass(frozen=True)
class Operator:
    """One operator in a profile.

    Attributes:
        name: as torch calls it.
        own_s: seconds in it and not in what it calls: on the GPU where there is one.
        share: of all operators' seconds, 0 to 1.
        n_calls: how often it was called.
    """

    name: str
    own_s: float
    share: float
    n_calls: int


@dataclass(frozen=True)
class Speed:
    """The counted steps of one rank, or of all.

    Attributes:
        device: what it was measured on.
        step_s: seconds from the end of one step to that of the next.
        wait_s: seconds of each in which it waited for data.
        n_samples: patches in these steps, of all ranks.
        peak_bytes: peak memory by what it is of; of several ranks the largest.
        world_size: number of ranks.
        operators: the costliest first; empty without a profile.
    """

    device: str
    step_s: tuple[float, ...]
    wait_s: tuple[float, ...]
    n_samples: int
    peak_bytes: dict[str, int]
    world_size: int = 1
    operators: tuple[Operator, ...] = ()

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Speed:
        """Make it from its fields as JSON gives them back."""
        operators = tuple(Operator(**one) for one in content["operators"])
        times = {name: tuple(content[name]) for name in ("step_s", "wait_s")}
        return cls(**{**content, **times, "operators": operators})

    @property
    def samples_per_s(self) -> float:
        """Patches a second, of all ranks together."""
        return self.n_samples / sum(self.step_s)

    @property
    def waiting_share(self) -> float:
        """Share of the time spent waiting for data, 0 to 1."""
        return sum(self.wait_s) / sum(self.step_s)

    def lines(self) -> list[str]:
        """A line a figure."""
        low, high = spread(self.step_s)
        ranks = f"{self.world_size} ranks" if self.world_size > 1 else "1 rank"
        return [
            f"measured on        {self.device}, {ranks}, {len(self.step_s)} steps",
            f"seconds per step   median {statistics.median(self.step_s):.4f}, "
            f"mean {statistics.fmean(self.step_s):.4f}, {low:.4f} to {high:.4f} (5 % to 95 %)",
            f"samples per second {self.samples_per_s:.2f}",
            f"waiting for data   {self.waiting_share:.1%} of the time",
            *(f"peak memory        {size / MIB:.0f} MiB {name}" for name, size in self.peak_bytes.items()),
        ]


def joined(ranks: Sequence[Speed]) -> Speed:
    """The speed of ranks that step together: the first one's steps, the samples of all."""
    first = ranks[0]
    peaks = {name: max(rank.peak_bytes[name] for rank in ranks) for name in first.peak_bytes}
    n_samples = sum(rank.n_samples for rank in ranks)
    return Speed(
        first.device, first.step_s, first.wait_s, n_samples, peaks, len(ranks), operators=first.operators
    )


def spread(values: Sequence[float]) -> tuple[float, float]:
    """The values below which 5 % and 95 % lie; one value is its own spread."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[0], cuts[-1]
