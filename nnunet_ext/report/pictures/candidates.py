"""The candidates of a tuning: the score of each, held out and fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from nnunet_ext.report.pictures.themes import Theme, as_png, plain_text

WIDTH, ROW, ROOM_BELOW = 9.0, 0.3, 0.75  # inches
OTHER, CHOSEN = 0, 1  # colours of a theme
SCALE = "score: held out with one standard error (dot), fitted on all cases (ring)"


@dataclass(frozen=True)
class Bar:
    """One candidate; a score that does not exist is NaN.

    Attributes:
        name: as tables call it.
        score: on held-out cases.
        standard_error: of that score.
        is_chosen: whether it is recommended.
        fitted: the score of weights that were fitted on all cases.
    """

    name: str
    score: float
    standard_error: float
    is_chosen: bool
    fitted: float = math.nan


def draw_candidates(bars: Sequence[Bar], theme: Theme) -> bytes:
    """Draw the scores of candidates as a PNG; the first is on top."""
    return as_png(WIDTH, height_of(bars), theme, lambda figure: draw_scores(figure.subplots(), bars, theme))


def height_of(bars: Sequence[Bar]) -> float:
    """Inches that the scores take."""
    return ROOM_BELOW + ROW * len(bars)


def draw_scores(axes: Axes, bars: Sequence[Bar], theme: Theme) -> None:
    """Draw the scores into a part of a figure, that of the recommended candidate in another colour."""
    for place, bar in enumerate(bars):
        colour = theme.colour(CHOSEN if bar.is_chosen else OTHER)
        error = bar.standard_error
        axes.errorbar(bar.score, place, xerr=error, fmt="o", capsize=3, markersize=5.5, color=colour)
        axes.plot(bar.fitted, place, "o", markersize=9, markerfacecolor="none", color=colour)
    axes.set_yticks(range(len(bars)), [plain_text(bar.name) for bar in bars])
    for tick, bar in zip(axes.get_yticklabels(), bars, strict=True):
        if bar.is_chosen:
            tick.set_color(theme.colour(CHOSEN))
            tick.set_fontweight("bold")
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlabel(SCALE)
