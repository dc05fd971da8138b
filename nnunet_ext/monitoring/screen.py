"""A snapshot of runs as a table: drawn on a live terminal, and as plain text for files and pipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.display.tables import NOTHING, Table
from nnunet_ext.files.escaping import printable, printable_lines
from nnunet_ext.monitoring.machine import Gpu, MachineLoad
from nnunet_ext.monitoring.monitor import OPEN_STATES, PLAIN_SPARKS, SPARKS, RunView, Snapshot, sparkline
from nnunet_ext.monitoring.result_tables import number_cell
from nnunet_ext.monitoring.states import duration_words

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as DrawnTable
    from rich.text import Text

GIB = 1 << 30
STYLES = {
    "running": "green",
    "stalled": "yellow",
    "interrupted": "yellow",
    "died": "bold red",
    "validation missing": "yellow",
}
NOTABLE_TREND = 0.05
WIDE = 120  # columns of a terminal that the table needs; narrower ones get a block for each run
NONE_OPEN = "No training is running, interrupted or broken off."
HEADER = ("run", "state", "epoch", "ETA", "s/epoch", "rate", "since best", "Dice: last, best, course")


def open_views(snapshot: Snapshot) -> list[RunView]:
    """The runs that have not finished: those that may need attention."""
    return [view for view in snapshot.views if view.run.state in OPEN_STATES]


def plain_table(snapshot: Snapshot) -> Table:
    """A table of the unfinished runs, with a row for each label."""
    rows = [row for view in open_views(snapshot) for row in _plain_rows(view)]
    return Table(HEADER, tuple(rows))


def _plain_rows(view: RunView) -> list[tuple[str, ...]]:
    labels = [_label(view, i, PLAIN_SPARKS) for i in range(len(view.labels))] or [NOTHING]
    return [(*_cells(view), labels[0]), *(("",) * len(_cells(view)) + (text,) for text in labels[1:])]


def _cells(view: RunView) -> tuple[str, ...]:
    return (
        f"{view.run.folder.dataset} {view.run.folder.name}",
        view.run.state,
        _epoch(view),
        NOTHING if view.eta_s is None else duration_words(view.eta_s),
        _pace(view),
        number_cell(view.learning_rate, ".2g"),
        _since_best(view),
    )


def _epoch(view: RunView) -> str:
    planned = "" if view.run.planned is None else f" of {view.run.planned}"
    return (NOTHING if view.epoch is None else str(view.epoch)) + planned


def _pace(view: RunView) -> str:
    trend = view.trend or 0.0
    return number_cell(view.epoch_s, ".1f") + (f" ({trend:+.0%})" if abs(trend) >= NOTABLE_TREND else "")


def _since_best(view: RunView) -> str:
    left = "" if view.patience_left is None else f", {view.patience_left} left"
    return NOTHING if view.since_best is None else f"{view.since_best}{left}"


def _label(view: RunView, i: int, marks: str) -> str:
    label = view.labels[i]
    dice = f"{number_cell(label.last)} {number_cell(label.best)}"
    return f"{printable(label.name)} {dice} {sparkline(label.course, marks)}"


def run_notices(snapshot: Snapshot) -> list[str]:
    """Lines on single runs: the reason of the state, the last warning, and the number of workers."""
    return list(map(printable, _notices(snapshot)))


def _notices(snapshot: Snapshot) -> list[str]:
    views = open_views(snapshot)
    lines = [] if views else [NONE_OPEN]
    for view in views:
        run, name = view.run, f"{view.run.folder.dataset} {view.run.folder.name}"
        if run.standing.reason:
            lines.append(f"{name}: {run.state}, {run.standing.reason}")
        if run.log.warning:
            lines.append(f"{name}: {run.log.warning}")
        if view.n_workers is not None:
            lines.append(f"{name}: {view.n_workers} worker processes alive")
    return lines


def footer(snapshot: Snapshot, root: Path) -> list[str]:
    """Lines on the number of finished runs and on the machine's load."""
    over = Counter(view.run.state for view in snapshot.views if view.run.state not in OPEN_STATES)
    states = [f"{n} {state}" for state, n in over.items()]
    return [*([", ".join(states)] if states else []), *_load_lines(snapshot.load, root)]


def _load_lines(load: MachineLoad, root: Path) -> list[str]:
    ram = f"RAM {load.ram_used_bytes / GIB:.1f} of {load.ram_total_bytes / GIB:.1f} GiB"
    disk = (
        ""
        if load.disk_free_bytes is None
        else f", {load.disk_free_bytes / GIB:.0f} GiB left on the disk of {root}"
    )
    return [*map(_gpu_line, load.gpus), ram + disk]


def _gpu_line(gpu: Gpu) -> str:
    parts = []
    if gpu.use_percent is not None:
        parts.append(f"{gpu.use_percent:.0f} %")
    if gpu.memory_used_bytes is not None and gpu.memory_total_bytes is not None:
        parts.append(f"{gpu.memory_used_bytes / GIB:.1f} of {gpu.memory_total_bytes / GIB:.1f} GiB")
    if gpu.temperature_c is not None:
        parts.append(f"{gpu.temperature_c:.0f} C")
    if gpu.power_w is not None:
        parts.append(f"{gpu.power_w:.0f} W")
    return f"GPU {gpu.index} {gpu.name}: {', '.join(parts) or 'reports nothing'}"


def print_screen(snapshot: Snapshot, root: Path) -> None:
    """Print the snapshot on this terminal."""
    from rich.console import Console

    console = Console()
    console.print(draw_screen(snapshot, root, console.encoding, console.width))


def draw_screen(snapshot: Snapshot, root: Path, encoding: str | None, width: int = WIDE) -> RenderableType:
    """The snapshot for a terminal: a table, or a block of lines for each run where the terminal is narrow."""
    from rich.console import Group
    from rich.text import Text

    marks, views = _marks(encoding), open_views(snapshot)
    lines = map(Text, (*run_notices(snapshot), *footer(snapshot, root)))
    if width < WIDE:
        return Group(*(_block(view, marks) for view in views), *lines)
    return Group(*([_drawn_table(views, marks)] if views else []), *lines)


def _drawn_table(views: Sequence[RunView], marks: str) -> DrawnTable:
    from rich import box
    from rich.table import Table as DrawnTable
    from rich.text import Text

    table = DrawnTable(box=box.SIMPLE_HEAD, expand=True)
    for heading in HEADER:
        table.add_column(heading, overflow="fold")
    for view in views:
        folder = view.run.folder
        name = f"{folder.dataset}\n{folder.trainer}\n{folder.plans} {folder.configuration} fold {folder.fold}"
        cells: list[Any] = [Text(printable_lines(name)), *map(Text, map(printable, _cells(view)[1:]))]
        cells[1].stylize(STYLES.get(view.run.state, ""))
        labels = [_label(view, i, marks) for i in range(len(view.labels))]
        table.add_row(*cells, Text("\n".join(labels)))
    return table


def _block(view: RunView, marks: str) -> Text:
    """One run as lines: its name, the table's cells behind their headings, and a line for each label."""
    from rich.text import Text

    folder, (_, state, *cells) = view.run.folder, _cells(view)
    names = (folder.dataset, folder.trainer, folder.plans, folder.configuration, "fold", folder.fold)
    known = (f"{name} {cell}" for name, cell in zip(HEADER[2:], cells, strict=False) if cell != NOTHING)
    labels = (
        f"  {printable(one.name)}: Dice {number_cell(one.last)}, best {number_cell(one.best)} "
        f"{sparkline(one.course, marks)}\n"
        for one in view.labels
    )
    return Text.assemble(
        (printable(" ".join(names)), "bold"),
        "\n  ",
        (state, STYLES.get(state, "")),
        "; ",
        "; ".join(known),
        "\n",
        *labels,
    )


def _marks(encoding: str | None) -> str:
    try:
        SPARKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN_SPARKS
    return SPARKS
