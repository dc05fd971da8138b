"""Table of the tensors of pretrained weights that were loaded, reshaped or left out, a line a module."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

FateKind = Literal["loaded", "reshaped", "other shape", "other labels", "only here", "only there"]
NOTHING = "-"
N_EXPLAINED = 4


@dataclass(frozen=True)
class TensorFate:
    """Result of the transfer of one tensor.

    Attributes:
        kind: `loaded` and `reshaped` tensors are in the network now; those of `other shape`, `other labels`
            and `only here` are as they were initialized; `only there` are in the checkpoint and not used.
        name: name in the network, or in the checkpoint of a tensor that is only there.
        here: shape in the network.
        there: shape in the checkpoint.
    """

    kind: FateKind
    name: str
    here: tuple[int, ...] | None = None
    there: tuple[int, ...] | None = None

    @property
    def n_parameters(self) -> int:
        """Number of values in the tensor, that of the network's where shapes differ."""
        return math.prod(self.here if self.here is not None else self.there or ())

    @property
    def module(self) -> str:
        """Module of the network that the tensor belongs to, down to the first number: `encoder.stages.0`."""
        return re.sub(r"^(.*?\.\d+)\..*$|\.[^.]*$", r"\1", self.name)


@dataclass(frozen=True)
class Transfer:
    """Result of a transfer of weights.

    Attributes:
        path: file of the checkpoint.
        fates: result for each tensor of the checkpoint and of the network.
    """

    path: str
    fates: tuple[TensorFate, ...]

    def count(self, kind: FateKind) -> int:
        """Count the tensors of one kind."""
        return sum(fate.kind == kind for fate in self.fates)

    def lines(self) -> list[str]:
        """Write the table for a training's log: a line a module, with tensors and (parameters)."""
        kinds = [kind for kind in get_args(FateKind) if self.count(kind)]
        modules = dict.fromkeys(fate.module for fate in self.fates)
        rows = [
            ["tensors (parameters)", *kinds],
            *([module, *(_cell(self._of(kind, module)) for kind in kinds)] for module in modules),
            ["all", *(_cell(self._of(kind)) for kind in kinds)],
        ]
        return [f"Pretrained weights of {self.path}:", *_aligned(rows), *self._explained()]

    def _of(self, kind: FateKind, module: str | None = None) -> list[TensorFate]:
        return [fate for fate in self.fates if fate.kind == kind and module in (None, fate.module)]

    def _explained(self) -> list[str]:
        lines = []
        for kind in ("reshaped", "other shape"):
            changed = self._of(kind)
            lines += [
                f"{kind}: {one.name}, {one.there} there, {one.here} here" for one in changed[:N_EXPLAINED]
            ]
            if len(changed) > N_EXPLAINED:
                lines.append(f"{kind}: and {len(changed) - N_EXPLAINED} more")
        return lines


def _cell(fates: Sequence[TensorFate]) -> str:
    return f"{len(fates)} ({sum(fate.n_parameters for fate in fates):,})" if fates else NOTHING


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
