"""Checked figures, and the lines that report them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True)
class Check:
    """One checked figure of a part.

    Attributes:
        part: number of the part.
        name: what was measured.
        value: the figure, with its unit where it has one.
        limit: what it must be; empty where it is only told.
        is_passed: None where it is only told.
    """

    part: int
    name: str
    value: str
    limit: str = ""
    is_passed: bool | None = None

    @property
    def verdict(self) -> str:
        """PASS, FAIL or INFO."""
        return "INFO" if self.is_passed is None else "PASS" if self.is_passed else "FAIL"

    def line(self) -> str:
        """Verdict, part, name, value and limit in one line."""
        limit = f"   limit: {self.limit}" if self.limit else ""
        return f"{self.verdict} {self.part:2d} {self.name:60} {self.value}{limit}"


@dataclass(frozen=True)
class Bench:
    """The settings and functions that a part is run with.

    Attributes:
        part: its number.
        device: `cuda` or `cpu`.
        is_small: tiny sizes, whose times and memory mean nothing: limits on these are not judged.
        work: a folder for its files.
        events: where checks are written, a line of JSON each.
    """

    part: int
    device: str
    is_small: bool
    work: Path
    events: TextIO

    @property
    def is_cuda(self) -> bool:
        """Whether there is a GPU to check."""
        return self.device == "cuda"

    def tell(self, name: str, value: object) -> None:
        """Report a figure that has no limit."""
        self._write(Check(self.part, name, _text(value)))

    def require(self, name: str, is_passed: bool, value: object = "", limit: str = "") -> None:
        """Report whether a condition holds that must hold on any device."""
        self._write(Check(self.part, name, _text(value) or ("yes" if is_passed else "no"), limit, is_passed))

    def at_most(self, name: str, value: float, limit: float, unit: str = "") -> None:
        """Report whether a figure is within its limit; NaN is not."""
        self.require(name, value <= limit, f"{_text(value)} {unit}".strip(), f"<= {limit:g} {unit}".strip())

    def measured_at_most(self, name: str, value: float, limit: float, unit: str = "") -> None:
        """Like `at_most` on a GPU at full size; else the figure is reported without a verdict."""
        if self.is_cuda and not self.is_small:
            self.at_most(name, value, limit, unit)
        else:
            self.tell(name, f"{_text(value)} {unit}".strip())

    def _write(self, check: Check) -> None:
        self.write({"event": "check", **asdict(check)})

    def write(self, content: dict[str, Any]) -> None:
        """Send an event to the process that started this one."""
        self.events.write(json.dumps(content) + "\n")
        self.events.flush()


def attempt(bench: Bench, name: str, act: Callable[..., None], *args: Any) -> None:
    """Run a piece of a part; an error is reported as a FAIL of its name, and the next piece runs.

    Args:
        bench: the part's, and the first argument of `act`.
        name: of the piece.
        act: the piece.
        args: its further arguments.
    """
    try:
        act(bench, *args)
    except (Exception, SystemExit) as error:
        import traceback

        traceback.print_exc()
        reason = (str(error).strip().splitlines() or [""])[0][:160]
        bench.require(name, False, f"{type(error).__name__}: {reason}")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value)
