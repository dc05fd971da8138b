"""Tables of text: drawn on a terminal, aligned plain text in files and pipes."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table as DrawnTable
from rich.text import Text

from nnunet_ext.files.escaping import printable
from nnunet_ext.metrics.dice import MEAN_OF_LABELS, MEAN_OF_LABELS_DEFINED, DiceSummary, mean_over_labels

NOTHING = "-"
ALARMING = re.compile(r"\bLOST\b|^died$|^stalled$")
NUMBER = re.compile(r"\[?[-+]?\d[\d.,]*(\s.+)?")  # a number may be followed by its spread or unit
NAMES = frozenset({"fold", "case", "model", "label"})  # columns of names, which may consist of digits
LONGEST_NUMBER = 30
RECOMMENDED, BEST_MODEL = "recommended", "best model"
MARKED = frozenset({"mean", RECOMMENDED, BEST_MODEL})  # a row with such a cell is highlighted


@dataclass(frozen=True)
class Table:
    """Texts in rows under a header; every row has as many cells as the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""

    def __post_init__(self) -> None:
        """Escape control characters in all texts, as names and labels come from files."""
        object.__setattr__(self, "header", tuple(map(printable, self.header)))
        object.__setattr__(self, "rows", tuple(tuple(map(printable, row)) for row in self.rows))
        object.__setattr__(self, "title", printable(self.title))


def dice_table(rows: Mapping[str, Mapping[str, DiceSummary]], title: str = "", n_digits: int = 3) -> Table:
    """A table of the mean Dice of each label, with a row for each member or method.

    The mean is over the cases that hold the label, whose number is in the heading. A cell also tells how many
    of the other cases are false alarms, and is `-` where no case holds the label.

    Args:
        rows: the summary of each label, by the row's name; all rows have the same labels and cases.
        title: the table's title; the definition of the mean of labels is added to it.
        n_digits: digits after the point.
    """
    labels = next(iter(rows.values()), {})
    header = ("", *(_heading(name, summary) for name, summary in labels.items()), MEAN_OF_LABELS)
    body = [
        (
            name,
            *(_cell(summaries[label], n_digits) for label in labels),
            _number(mean_over_labels(summaries), n_digits),
        )
        for name, summaries in rows.items()
    ]
    return Table(
        header, tuple(body), f"{title}; {MEAN_OF_LABELS_DEFINED}" if title else MEAN_OF_LABELS_DEFINED
    )


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
    """Print a table: drawn on a terminal, else as plain text that any encoding can hold.

    Args:
        table: the table.
        file: the stream to print to; standard output by default.
    """
    file = sys.stdout if file is None else file
    if file.isatty():
        draw_table(table, file)
    else:
        print(as_text(table), file=file)


def as_text(table: Table) -> str:
    """The table as plain text, with names aligned left and numbers aligned right."""
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
    """Whether all cells of a column are numbers or empty; the first column always holds names."""
    cells = [row[column] for row in table.rows]
    if column == 0 or table.header[column] in NAMES:
        return False
    known = [cell for cell in cells if cell not in ("", NOTHING)]
    return bool(known) and all(NUMBER.fullmatch(cell) and len(cell) < LONGEST_NUMBER for cell in known)


def is_alarming(cell: str) -> bool:
    """Whether a cell tells of something that needs attention."""
    return ALARMING.search(cell) is not None


def with_signs(text: str) -> str:
    """A text with `±` in place of `+-`, which terminals may lack."""
    return text.replace("+-", "±")


GAP = 2  # characters between columns
LEAST_NAME = 18  # the longest part of a name that is not broken
PIECES = re.compile(r"[^_\s]*(?:_+|\s+|$)")
ALARM, MARK = "bold red", "bold"


def draw_table(table: Table, file: TextIO) -> None:
    """Draw a table on a terminal.

    Columns that do not fit follow below, with the names of their rows repeated. Headings and names may take
    several lines; a number never does.
    """
    console = Console(file=file)
    shown = _encodable(table, file.encoding)
    if shown.title:
        console.print(Text(shown.title, MARK))
    for number, columns in enumerate(_column_groups(shown, console.width)):
        if number:
            console.print()
        console.print(_drawn(shown, columns, console.width))


def _encodable(table: Table, encoding: str | None) -> Table:
    try:
        "±".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return table
    return Table(table.header, tuple(tuple(map(with_signs, row)) for row in table.rows), table.title)


def _column_groups(table: Table, width: int) -> list[list[int]]:
    """The columns drawn side by side, as one list for each block; all begin with the columns of names."""
    n = len(table.header)
    needed = [_least_width(table, i) + GAP for i in range(n)]
    first_number = next((i for i in range(n) if is_number_column(table, i)), n)
    names = list(range(max(1, first_number)))
    room = width + GAP - sum(needed[i] for i in names)
    groups, left = [names], room
    for i in range(len(names), n):
        if needed[i] > left and groups[-1] != names:
            groups.append(names)
            left = room
        groups[-1] = [*groups[-1], i]
        left -= needed[i]
    return groups


def _drawn(table: Table, columns: Sequence[int], width: int) -> DrawnTable:
    widths = _widths(table, columns, width)
    drawn = DrawnTable(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for i in columns:
        justify: JustifyMethod = "right" if is_number_column(table, i) else "left"
        heading = Text(_folded(table.header[i].replace("_", " "), widths[i]))
        drawn.add_column(heading, justify=justify, width=widths[i], overflow="fold")
    for row in table.rows:
        cells = (Text(_folded(row[i], widths[i]), ALARM if is_alarming(row[i]) else "") for i in columns)
        drawn.add_row(*cells, style=MARK if MARKED.intersection(row) else "")
    return drawn


def _widths(table: Table, columns: Sequence[int], width: int) -> dict[int, int]:
    """The width of each column in characters: what it needs, and from left to right what it can use."""
    widths = {i: _least_width(table, i) for i in columns}
    left = width - sum(widths.values()) - GAP * (len(columns) - 1)
    for i in columns:
        natural = max(len(row[i]) for row in (table.header, *table.rows))
        more = max(0, min(natural - widths[i], left))
        widths[i] += more
        left -= more
    return widths


def _least_width(table: Table, column: int) -> int:
    """The least width of a column in characters: of the longest number, or of a readable part of a name."""
    cells = [row[column] for row in table.rows]
    words = table.header[column].replace("_", " ").split()
    if is_number_column(table, column):
        return max(map(len, (*cells, *words)))
    longest = max((len(word) for text in (*cells, *words) for word in text.split()), default=0)
    return min(LEAST_NAME, longest)


def _folded(text: str, width: int) -> str:
    """A text broken into lines, after blanks and underscores where possible."""
    lines = [""]
    for piece in PIECES.findall(text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
