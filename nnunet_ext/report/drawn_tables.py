"""Tables drawn on a terminal, as wide as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table as DrawnTable
from rich.text import Text

from nnunet_ext.report.tables import MARKED, Table, is_alarming, is_number_column, with_signs

GAP = 2  # characters between columns
LEAST_NAME = 18  # characters that a name keeps in a line
PIECES = re.compile(r"[^_\s]*(?:_+|\s+|$)")
ALARM, MARK = "bold red", "bold"


def print_drawn(table: Table, file: TextIO) -> None:
    """Draw a table. Columns that do not fit follow below, beside the names of their rows once more.

    Headings and names may take several lines; a number never does.
    """
    console = Console(file=file)
    shown = _encodable(table, file.encoding)
    if shown.title:
        console.print(Text(shown.title, MARK))
    for number, columns in enumerate(_parts(shown, console.width)):
        if number:
            console.print()
        console.print(_drawn(shown, columns, console.width))


def _encodable(table: Table, encoding: str | None) -> Table:
    try:
        "±".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return table
    return Table(table.header, tuple(tuple(map(with_signs, row)) for row in table.rows), table.title)


def _parts(table: Table, width: int) -> list[list[int]]:
    """The columns of each part, the leading names in all of them."""
    n = len(table.header)
    needed = [_least_width(table, i) + GAP for i in range(n)]
    first_number = next((i for i in range(n) if is_number_column(table, i)), n)
    names = list(range(max(1, first_number)))
    room = width + GAP - sum(needed[i] for i in names)
    parts, left = [names], room
    for i in range(len(names), n):
        if needed[i] > left and parts[-1] != names:
            parts.append(names)
            left = room
        parts[-1] = [*parts[-1], i]
        left -= needed[i]
    return parts


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
    """Characters of each column: what it needs, and in their order what more they can use."""
    widths = {i: _least_width(table, i) for i in columns}
    left = width - sum(widths.values()) - GAP * (len(columns) - 1)
    for i in columns:
        natural = max(len(row[i]) for row in (table.header, *table.rows))
        more = max(0, min(natural - widths[i], left))
        widths[i] += more
        left -= more
    return widths


def _least_width(table: Table, column: int) -> int:
    """Characters that a column needs: of numbers the longest, of names a piece that can be read."""
    cells = [row[column] for row in table.rows]
    words = table.header[column].replace("_", " ").split()
    if is_number_column(table, column):
        return max(map(len, (*cells, *words)))
    longest = max((len(word) for text in (*cells, *words) for word in text.split()), default=0)
    return min(LEAST_NAME, longest)


def _folded(text: str, width: int) -> str:
    """A text in lines, broken behind blanks and underscores where that is possible."""
    lines = [""]
    for piece in PIECES.findall(text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
