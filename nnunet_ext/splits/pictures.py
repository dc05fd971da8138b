"""Picture of an audit: how each fold's cases and volumes of each label stand against the mean over folds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nnunet_ext.files.whole import written_whole
from nnunet_ext.splits.audit import FEW, Audit

COLOURS = "RdBu_r"  # white at the mean, red above it, blue below
FARTHEST = 0.6  # share of the mean at which the colour is full
PALE = 0.36  # up to this share of the mean, dark text can be read
WARNING, ABSENT = "#b3261e", "#ffe08a"
CELL_WIDTH, CELL_HEIGHT = 0.85, 0.5  # inches
NAME_WIDTH, ROOM, BAR_HEIGHT = 0.09, 1.5, 0.7  # inches a letter, of headings and names, of the scale
FOLDS_BESIDE = 6  # with more folds, the volumes are drawn below the cases


@dataclass(frozen=True)
class FoldCell:
    """One label in one fold: its value, how far it is from the mean over folds, and a warning.

    Attributes:
        text: the value, or the word `absent`.
        deviation: share of the mean by which the value is above it; NaN where there is none to tell.
        warning: why the cell is marked; empty where it is not.
    """

    text: str
    deviation: float
    warning: str = ""

    @property
    def deviation_text(self) -> str:
        """The deviation in whole percent; empty where there is none."""
        percent = 0 if math.isnan(self.deviation) else round(100 * self.deviation)
        return f"{percent:+d}%" if percent else ""


def count_cells(counts: Sequence[int], *, warns: bool = True) -> list[FoldCell]:
    """The cells of one label's number of cases; no case and few cases are warnings."""
    cells = []
    for count, deviation in zip(counts, _deviations(counts), strict=True):
        warning = ("absent" if count == 0 else "few" if count < FEW else "") if warns else ""
        cells.append(FoldCell("absent" if count == 0 else str(count), deviation, warning))
    return cells


def volume_cells(counts: Sequence[int], volumes_ml: Sequence[float]) -> list[FoldCell]:
    """The cells of one label's mean volume; the mean over folds is over those that hold the label."""
    known = [volume if count else math.nan for count, volume in zip(counts, volumes_ml, strict=True)]
    return [
        FoldCell("absent", math.nan, "absent")
        if math.isnan(value)
        else FoldCell(_volume_text(value), deviation)
        for value, deviation in zip(known, _deviations(known), strict=True)
    ]


def _volume_text(volume_ml: float) -> str:
    return f"{volume_ml:.0f}" if volume_ml >= 100 else f"{volume_ml:.3g}"


def _deviations(values: Sequence[float]) -> list[float]:
    known = [value for value in values if not math.isnan(value)]
    mean = sum(known) / len(known) if known else 0.0
    return [value / mean - 1 if mean else math.nan for value in values]


def draw_audit(audit: Audit, path: Path) -> None:
    """Draw cases and volumes of each label in each fold; the ending chooses the format: png, pdf or svg.

    The colour of a cell tells how far it is from the mean over folds. A label that no validation case of a
    fold holds, or fewer than two, is framed.
    """
    n_folds, n_labels = len(audit.n_val), len(audit.holding)
    is_beside = n_folds <= FOLDS_BESIDE
    name_width = NAME_WIDTH * max(map(len, (*audit.holding, "all validation cases")))
    width, heights = n_folds * CELL_WIDTH + ROOM / 2, [n_labels + 1, n_labels]
    if is_beside:
        size = (name_width + 2 * width, ROOM + BAR_HEIGHT + CELL_HEIGHT * heights[0])
    else:
        size = (name_width + width, 2 * ROOM + BAR_HEIGHT + CELL_HEIGHT * sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    if is_beside:
        cases, volumes = figure.subplots(1, 2)
    else:
        cases, volumes = figure.subplots(2, 1, height_ratios=heights)
    rows = {name: count_cells(counts) for name, counts in audit.holding.items()}
    all_cases = {"all validation cases": count_cells(audit.n_val, warns=False)}
    _draw_cells(cases, all_cases | rows, "Validation cases that hold the label")
    volume_rows = {
        name: volume_cells(counts, audit.volumes_ml[name]) for name, counts in audit.holding.items()
    }
    above: dict[str, list[FoldCell]] = (
        {" ": []} if is_beside else {}
    )  # so that a label has the same height in both
    _draw_cells(volumes, above | volume_rows, "Mean volume in those cases, ml")
    if is_beside:
        volumes.set_yticklabels([])
    scale = ScalarMappable(Normalize(-FARTHEST, FARTHEST), COLOURS)
    bar = figure.colorbar(
        scale, ax=[cases, volumes], location="bottom", aspect=50, fraction=0.05, extend="both"
    )
    bar.set_label(
        f"a frame and ! warn: no validation case holds the label, or fewer than {FEW}", fontsize="small"
    )
    bar.set_ticks([-0.5, -0.25, 0, 0.25, 0.5], labels=["-50%", "-25%", "mean over folds", "+25%", "+50%"])
    with written_whole(path) as part:
        FigureCanvasAgg(figure).print_figure(part, dpi=120)


def _draw_cells(axes: Axes, rows: dict[str, list[FoldCell]], title: str) -> None:
    """Draw rows of cells, with their values, deviations and frames of warnings."""
    n_folds = max(map(len, rows.values()), default=0)
    colours: Callable[[float], tuple[float, ...]] = colormaps[COLOURS]
    for y, cells in enumerate(rows.values()):
        for x, cell in enumerate(cells):
            deviation = 0.0 if math.isnan(cell.deviation) else cell.deviation
            fill = ABSENT if cell.text == "absent" else colours((deviation / FARTHEST + 1) / 2)
            is_dark = cell.text != "absent" and abs(deviation) > PALE
            edge, thickness = (WARNING, 2.5) if cell.warning else ("white", 1.5)
            box = Rectangle(
                (x - 0.47, y - 0.45), 0.94, 0.9, facecolor=fill, edgecolor=edge, linewidth=thickness
            )
            axes.add_patch(box).set_zorder(3 if cell.warning else 2)
            text = cell.text + (" !" if cell.warning else "")
            note = cell.deviation_text if cell.text != "absent" else ""
            shade = "white" if is_dark else "black"
            axes.text(x, y - (0.12 if note else 0), text, ha="center", va="center", color=shade, zorder=4)
            axes.text(x, y + 0.25, note, ha="center", va="center", color=shade, fontsize=7, zorder=4)
    axes.set_xlim(-0.5, n_folds - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(n_folds), [f"fold {fold}" for fold in range(n_folds)])
    axes.set_yticks(range(len(rows)), [name.replace("_", " ").replace("$", r"\$") for name in rows])
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, fontsize="medium", fontweight="bold", loc="left", pad=10)
