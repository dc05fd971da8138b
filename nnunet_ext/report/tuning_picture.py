"""A picture of a tuning: held-out scores of all candidates, and the recommended weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnunet_ext.files import written_whole

BAR_INCHES, CELL_INCHES = 0.35, 0.7
CHOSEN, OTHER = "#d95f02", "#4477aa"


@dataclass(frozen=True)
class Bar:
    """One candidate: its held-out score with its standard error, and whether it is recommended."""

    name: str
    score: float
    standard_error: float
    is_chosen: bool


@dataclass(frozen=True)
class WeightMatrix:
    """The recommended weights, members down and labels to the right; each column sums to 1."""

    members: Sequence[str]
    labels: Sequence[str]
    weights: NDArray[np.float64]


def draw_tuning(bars: Sequence[Bar], matrix: WeightMatrix, target: Path, dpi: int = 120) -> None:
    """Draw a tuning into a PNG.

    Args:
        bars: from simple to complex; the first is on top.
        matrix: of the recommended candidate.
        target: the PNG, written whole or not at all.
        dpi: pixels an inch.
    """
    height = 1.6 + max(BAR_INCHES * len(bars), CELL_INCHES * len(matrix.members))
    widths = (6.0, 2.0 + CELL_INCHES * len(matrix.labels))
    figure = Figure(figsize=(sum(widths), height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=widths)
    _draw_scores(left, bars)
    _draw_weights(right, matrix)
    with written_whole(target) as part:
        figure.savefig(part, format="png")


def _draw_scores(axes: Axes, bars: Sequence[Bar]) -> None:
    for place, bar in enumerate(bars):
        axes.errorbar(
            bar.score,
            place,
            xerr=bar.standard_error,
            fmt="o",
            capsize=3,
            color=CHOSEN if bar.is_chosen else OTHER,
        )
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    for tick, bar in zip(axes.get_yticklabels(), bars, strict=True):
        tick.set_color(CHOSEN if bar.is_chosen else "black")
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("held-out score, with one standard error over cases")


def _draw_weights(axes: Axes, matrix: WeightMatrix) -> None:
    axes.imshow(matrix.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for down, row in enumerate(matrix.weights):
        for right, weight in enumerate(row):
            colour = "white" if weight > 0.6 else "black"
            axes.text(right, down, f"{weight:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(matrix.labels)), matrix.labels, rotation=40, ha="right")
    axes.set_yticks(range(len(matrix.members)), matrix.members)
    axes.set_title("recommended weights")
