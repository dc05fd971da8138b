"""Speed of the steps of a training, and its report in a few lines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

MIB = 2**20


@dataclass(frozen=True)
class Operator:
    """One operator of a profile.

    Attributes:
        name: torch's name of it.
        own_s: seconds in the operator without those that it calls; on a GPU where there is one.
        share: share of the seconds of all operators, 0 to 1.
        n_calls: number of calls.
    """

    name: str
    own_s: float
    share: float
    n_calls: int


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measured steps of one rank, or of all ranks together.

    Attributes:
        device: name of the device.
        step_s: for each step, seconds from the end of the step before to its own end.
        wait_s: for each step, seconds of these spent waiting for data.
        n_samples: number of patches in these steps, of all ranks.
        peak_bytes: peak memory by its kind; of several ranks the largest.
        world_size: number of ranks.
        operators: operators of the profile, the costliest first; empty without a profile.
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
        """Make a Speed from its fields as JSON gives them."""
        operators = tuple(Operator(**one) for one in content["operators"])
        times = {name: tuple(content[name]) for name in ("step_s", "wait_s")}
        return cls(**{**content, **times, "operators": operators})

    @property
    def samples_per_s(self) -> float:
        """Patches per second, of all ranks together."""
        return self.n_samples / sum(self.step_s)

    @property
    def waiting_share(self) -> float:
        """Share of the time spent waiting for data, 0 to 1."""
        return sum(self.wait_s) / sum(self.step_s)

    def lines(self) -> list[str]:
        """Write the report, a line a figure."""
        low, high = percentile_range(self.step_s)
        ranks = f"{self.world_size} ranks" if self.world_size > 1 else "1 rank"
        return [
            f"measured on        {self.device}, {ranks}, {len(self.step_s)} steps",
            f"seconds per step   median {statistics.median(self.step_s):.4f}, "
            f"mean {statistics.fmean(self.step_s):.4f}, {low:.4f} to {high:.4f} (5 % to 95 %)",
            f"samples per second {self.samples_per_s:.2f}",
            f"waiting for data   {self.waiting_share:.1%} of the time",
            *(f"peak memory        {size / MIB:.0f} MiB {name}" for name, size in self.peak_bytes.items()),
        ]


def speed_of_ranks(ranks: Sequence[Speed]) -> Speed:
    """Join the speeds of ranks that step together: times of the first rank, samples of all."""
    first = ranks[0]
    peaks = {name: max(rank.peak_bytes[name] for rank in ranks) for name in first.peak_bytes}
    n_samples = sum(rank.n_samples for rank in ranks)
    return replace(first, n_samples=n_samples, peak_bytes=peaks, world_size=len(ranks))


def percentile_range(values: Sequence[float]) -> tuple[float, float]:
    """Compute the 5th and the 95th percentile; of a single value, this value twice."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[0], cuts[-1]
