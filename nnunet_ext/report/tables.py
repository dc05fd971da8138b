"""Tables of results: drawn on a terminal, aligned plain text in files and pipes."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from nnunet_ext.escaping import printable
from nnunet_ext.report.dice import DiceSummary, mean_over_labels

NOTHING = "-"
ALARMING = re.compile(r"\bLOST\b|^died$|^stalled$")
NUMBER = re.compile(r"\[?[-+]?\d[\d.,]*(\s.+)?")  # also with its spread, or with what it counts
NAMES = frozenset({"fold", "case", "model", "label"})  # columns of names, some of which are digits
LONGEST_NUMBER = 30
RECOMMENDED = "recommended"
MARKED = frozenset({"mean", RECOMMENDED})  # a row with such a cell stands out


@dataclass(frozen=True)
class Table:
    """Texts in rows under a header; every row has as many cells as the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""

    def __post_init__(self) -> None:
        """Take from all texts what a terminal would obey: names and labels came from files."""
        object.__setattr__(self, "header", tuple(map(printable, self.header)))
        object.__setattr__(self, "rows", tuple(tuple(map(printable, row)) for row in self.rows))
        object.__setattr__(self, "title", printable(self.title))


def dice_table(rows: Mapping[str, Mapping[str, DiceSummary]], title: str = "", n_digits: int = 3) -> Table:
    """Mean Dice of each label, a row each member or method.

    A label's heading tells how many of the cases hold it: only they count. A cell tells how many
    of the others are false alarms, and is `-` where no case holds the label.

    Args:
        rows: by the row's name, one summary a label; all of the same labels and cases.
        title: what was compared.
        n_digits: after the point.
    """
    labels = next(iter(rows.values()), {})
    header = ("", *(_heading(name, summary) for name, summary in labels.items()), "mean of labels")
    body = [
        (
            name,
            *(_cell(summaries[label], n_digits) for label in labels),
            _number(mean_over_labels(summaries), n_digits),
        )
        for name, summaries in rows.items()
    ]
    return Table(header, tuple(body), title)


def _heading(name: str, summary: DiceSummary) -> str:
    return f"{name.replace('_', ' ')} (in {summary.n_holding} of {summary.n_cases})"


def _cell(summary: DiceSummary, n_digits: int) -> str:
    number = _number(summary.mean, n_digits)
    if not summary.n_false_alarms:
        return number
    plural = "s" if summary.n_false_alarms > 1 else ""
    return f"{number} (+{summary.n_false_alarms} false alarm{plural})"


def _number(value: float | None, n_digits: int) -> str:
    return NOTHING if value is None else f"{value:.{n_digits}f}"


def print_table(table: Table, file: TextIO | None = None) -> None:
    """Print a table: with rich on a terminal, otherwise as plain text that survives any encoding.

    Args:
        table: what to print.
        file: standard output unless given.
    """
    file = sys.stdout if file is None else file
    if file.isatty():
        from nnunet_ext.report.drawn_tables import print_drawn

        print_drawn(table, file)
    else:
        print(as_text(table), file=file)


def as_text(table: Table) -> str:
    """The table as aligned plain text, names to the left, numbers to the right."""
    lines = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rights = [is_number_column(table, i) for i in range(len(widths))]
    aligned = ["  ".join(_aligned(cells, widths, rights)).rstrip() for cells in lines]
    return "\n".join([table.title, *aligned] if table.title else aligned)


def _aligned(cells: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> list[str]:
    return [
        cell.rjust(width) if is_right else cell.ljust(width)
        for cell, width, is_right in zip(cells, widths, rights, strict=True)
    ]


def is_number_column(table: Table, column: int) -> bool:
    """Whether a column holds numbers, or nothing where one would be; the first holds names."""
    cells = [row[column] for row in table.rows]
    if column == 0 or table.header[column] in NAMES:
        return False
    known = [cell for cell in cells if cell not in ("", NOTHING)]
    return bool(known) and all(NUMBER.fullmatch(cell) and len(cell) < LONGEST_NUMBER for cell in known)


def is_alarming(cell: str) -> bool:
    """Whether a cell says what somebody should look after."""
    return ALARMING.search(cell) is not None


def with_signs(text: str) -> str:
    """A text for pages, which have the sign that terminals may lack."""
    return text.replace("+-", "±")
