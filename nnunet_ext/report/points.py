"""The Dice of each case as a point, per label and model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ext.display.themes import SMALL, Theme, as_png, plain_text
from nnunet_ext.report.scores import Scores

WIDTH, ROW, ROOM = 10.0, 0.42, 0.75  # inches
FEW_PANELS = 3  # of which each has the whole width
LEFT_END = 0.12
BIN, STEP, MOST_OFFSET = 0.008, 0.07, 0.36


def draw_points(every: Sequence[Scores], labels: Sequence[str], theme: Theme) -> bytes:
    """Draw a panel a label, in it a row a model, in which a bar marks the median.

    All panels have one scale. The worst case of each row is named.

    Args:
        every: the models; at least one.
        labels: at least one.
        theme: the colours.

    Returns:
        A PNG.
    """
    n_columns = 1 if len(labels) <= FEW_PANELS else 2
    n_rows = math.ceil(len(labels) / n_columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).flat
        for axes, label in zip(panels, labels, strict=False):
            _draw_label(axes, every, label, theme)
        for axes in list(panels)[len(labels) :]:
            axes.set_axis_off()
        lowest = min(
            (value for one in every for label in labels for value, _ in _values(one, label)), default=0
        )
        panels[0].set_xlim(max(0.0, math.floor(lowest * 10 - 0.5) / 10) - 0.01, 1.01)
        panels[0].set_ylim(len(every) - 0.5, -0.5)

    return as_png(WIDTH, n_rows * (ROW * len(every) + ROOM), theme, draw)


def _values(scores: Scores, label: str) -> list[tuple[float, str]]:
    """The Dice of the cases that hold a label, rising, each with its case."""
    values = ((scores.dice(case_id, label), case_id) for case_id in scores.cases)
    return sorted((dice, case_id) for dice, case_id in values if dice is not None)


def _draw_label(axes: Axes, every: Sequence[Scores], label: str, theme: Theme) -> None:
    for row, scores in enumerate(every):
        values = _values(scores, label)
        if not values:
            continue
        dice = [value for value, _ in values]
        heights = [row + offset for offset in _offsets(dice)]
        axes.plot(dice, heights, "o", color=theme.colour(row), markersize=4.5, alpha=0.7, markeredgewidth=0)
        axes.plot([median(dice)] * 2, [row - 0.38, row + 0.38], color=theme.ink, linewidth=1.8)
        axes.annotate(
            plain_text(values[0][1]),
            (dice[0], heights[0]),
            # Nothing is worse, so there is room on its left, unless that is the axis.
            xytext=(5, 5) if dice[0] < LEFT_END else (-5, 4),
            ha="left" if dice[0] < LEFT_END else "right",
            textcoords="offset points",
            fontsize=SMALL - 1.5,
            color=theme.ink,
        )
    axes.set_yticks(range(len(every)), [plain_text(scores.name) for scores in every])
    axes.grid(axis="y", visible=False)
    axes.set_title(plain_text(label.replace("_", " ")))
    axes.tick_params(labelbottom=True)


def _offsets(rising: Sequence[float]) -> list[float]:
    """How far each point is moved from its row, so that points of one Dice lie side by side."""
    offsets: list[float] = []
    place, started = 0, -math.inf
    for value in rising:
        place, started = (place + 1, started) if value - started < BIN else (0, value)
        side = 1 if place % 2 else -1
        offsets.append(max(-MOST_OFFSET, min(MOST_OFFSET, side * math.ceil(place / 2) * STEP)))
    return offsets
