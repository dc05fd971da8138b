"""Pictures of a tuning: the scores of all candidates, and the weights of the recommended one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ext.display.themes import LIGHT, Theme, as_png, plain_text
from nnunet_ext.files.whole import written_whole
from nnunet_ext.tuning.recommendation import Tuning, WeightMatrix

WIDTH, ROW, ROOM_BELOW = 9.0, 0.3, 0.75  # inches
OTHER, CHOSEN = 0, 1  # colours of a theme
SCALE = "score: held out with one standard error (dot), fitted on all cases (ring)"


@dataclass(frozen=True, kw_only=True)
class CandidateScore:
    """The score of one candidate as it is drawn; a score that does not exist is NaN.

    Attributes:
        name: the candidate's name in tables.
        score: on held-out cases.
        standard_error: standard error of the score.
        is_chosen: whether the candidate is recommended.
        fitted: the score with weights fitted on all cases.
    """

    name: str
    score: float
    standard_error: float
    is_chosen: bool
    fitted: float = math.nan


def draw_candidates(bars: Sequence[CandidateScore], theme: Theme) -> bytes:
    """Draw the scores of candidates as a PNG; the first is on top."""
    return as_png(WIDTH, height_of(bars), theme, lambda figure: draw_scores(figure.subplots(), bars, theme))


def height_of(bars: Sequence[CandidateScore]) -> float:
    """Return the height of the picture of the scores in inches."""
    return ROOM_BELOW + ROW * len(bars)


def draw_scores(axes: Axes, bars: Sequence[CandidateScore], theme: Theme) -> None:
    """Draw the scores into axes, that of the recommended candidate in another colour."""
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


CELL_WIDTH, CELL_HEIGHT, ROOM_RIGHT, ROOM_BELOW_CELLS = 1.1, 0.45, 2.2, 1.0  # inches
MOST_WIDTH = 16.0
BRIGHT = 0.55


def draw_weights(matrix: WeightMatrix, theme: Theme) -> bytes:
    """Draw the matrix, each cell with its value, as a PNG."""
    width = min(MOST_WIDTH, ROOM_RIGHT + CELL_WIDTH * len(matrix.labels))
    height = ROOM_BELOW_CELLS + CELL_HEIGHT * len(matrix.members)
    return as_png(width, height, theme, lambda figure: draw_cells(figure.subplots(), matrix, theme))


def draw_cells(axes: Axes, matrix: WeightMatrix, theme: Theme) -> None:
    """Draw the matrix into axes."""
    colours = colormaps[theme.scale]
    axes.imshow(matrix.weights, cmap=colours, vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(matrix.members)), [plain_text(name) for name in matrix.members])
    names = [plain_text(name.replace("_", " ")) for name in matrix.labels]
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right", rotation_mode="anchor")
    axes.grid(visible=False)
    for row, values in enumerate(matrix.weights):
        for column, value in enumerate(values):
            red, green, blue, _ = colours(value)
            is_bright = 0.3 * red + 0.6 * green + 0.1 * blue > BRIGHT
            shade = LIGHT.ink if is_bright else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade)


SCORES_WIDTH, MEMBERS_WIDTH, CELL = 8.0, 2.0, 0.7  # inches


def draw_tuning(bars: Sequence[CandidateScore], matrix: WeightMatrix, target: Path) -> None:
    """Draw a tuning into a PNG.

    Args:
        bars: scores from simple to complex; the first is on top.
        matrix: weights of the recommended candidate.
        target: the PNG, written whole or not at all.
    """
    widths = (SCORES_WIDTH, MEMBERS_WIDTH + CELL * len(matrix.labels))

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=widths)
        draw_scores(left, bars, LIGHT)
        draw_cells(right, matrix, LIGHT)
        right.set_title("recommended weights")

    height = max(height_of(bars), ROOM_BELOW_CELLS + CELL * len(matrix.members))
    png = as_png(sum(widths), height, LIGHT, draw)
    with written_whole(target) as part:
        part.write_bytes(png)


def tuning_scores(tuning: Tuning) -> list[CandidateScore]:
    """Return the scores of a tuning's candidates as they are drawn."""
    return [
        CandidateScore(
            name=row.heading,
            score=row.rated.score,
            standard_error=row.rated.standard_error,
            is_chosen=row is tuning.chosen,
            fitted=tuning.objective.score(row.fitted),
        )
        for row in tuning.rows
    ]
