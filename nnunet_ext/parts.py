"""A part of the cases, for those who run the same command on several machines without a scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from nnunet_ext.errors import UsageError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part:
    """One of several parts; those of all numbers together are all cases, each once.

    Attributes:
        number: from 1 to `of`.
        of: how many parts there are.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"Part {self.number} of {self.of} is none: write 1/{self.of} to {self.of}/{self.of}."
            )

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that `2/3` names.

        Raises:
            UsageError: it is not two numbers, or the first is none of 1 to the second.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise UsageError(f"{text!r} is no part of the cases: write 1/3 for the first of three.")
        return cls(int(number), int(of))

    def select(self, items: Sequence[Item]) -> list[Item]:
        """Every `of`-th item, beginning with that of the part's number."""
        return list(items[self.number - 1 :: self.of])

    def named(self, file_name: str) -> str:
        """A file name of this part's own: `report.json` becomes `report_1of3.json`."""
        stem, dot, ending = file_name.partition(".")
        return f"{stem}_{self.number}of{self.of}{dot}{ending}"
