"""Changes of the plans and the split between two starts of a training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NETWORK = "architecture"
N_NAMED = 5


@dataclass(frozen=True)
class FoldCases:
    """The cases of one fold.

    Attributes:
        train: training cases.
        val: validation cases.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of the cases, whatever their order."""
        return sha256_of_content([sorted(self.train), sorted(self.val)])

    def record(self) -> dict[str, Any]:
        """Convert to plain values, which `from_record` reads."""
        return {"sha256": self.sha256, "train": list(self.train), "val": list(self.val)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> FoldCases:
        """Read the cases from their plain values."""
        return cls(tuple(record["train"]), tuple(record["val"]))


def sha256_of_content(content: Any) -> str:
    """Compute the SHA-256 of plain values, whatever the order of their keys, as 64 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def changes_of_split(before: FoldCases, now: FoldCases) -> list[str]:
    """Describe which cases changed sides, came or went, a sentence each; none for the same split."""
    kinds = (
        ("are validated on now, but were trained on before", set(now.val) & set(before.train)),
        ("are trained on now, but were validated on before", set(now.train) & set(before.val)),
        ("are new", {*now.train, *now.val} - {*before.train, *before.val}),
        ("are gone", {*before.train, *before.val} - {*now.train, *now.val}),
    )
    return [f"{len(cases)} cases {what} ({_named(sorted(cases))})" for what, cases in kinds if cases]


def _named(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - N_NAMED} more" if len(cases) > N_NAMED else ""
    return ", ".join(cases[:N_NAMED]) + more


def changes_of_plan(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Describe how a configuration of the plans has changed.

    Args:
        before: configuration with which the training began, with all that it inherits.
        now: the present configuration, likewise.

    Returns:
        Changes that make another network, and other changes, a sentence each.
    """
    network = before.get(NETWORK, {}).get("arch_kwargs", {}), now.get(NETWORK, {}).get("arch_kwargs", {})
    names = tuple(one.get(NETWORK, {}).get("network_class_name") for one in (before, now))
    refused = [f"the network was {names[0]}, now {names[1]}"] if names[0] != names[1] else []
    refused += _changes(*network)
    return refused, [change for change in _changes(before, now) if not change.startswith(NETWORK)]


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {before.get(key)}, now {now.get(key)}"
        for key in dict.fromkeys((*before, *now))
        if before.get(key) != now.get(key)
    ]
