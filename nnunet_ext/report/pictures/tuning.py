"""A picture of a tuning: the scores of all candidates, and the recommended weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from nnunet_ext.files import written_whole
from nnunet_ext.report.pictures.candidates import Bar, draw_scores, height_of
from nnunet_ext.report.pictures.themes import LIGHT, as_png
from nnunet_ext.report.pictures.weights import ROOM_BELOW, WeightMatrix, draw_cells

SCORES_WIDTH, MEMBERS_WIDTH, CELL = 8.0, 2.0, 0.7  # inches


def draw_tuning(bars: Sequence[Bar], matrix: WeightMatrix, target: Path) -> None:
    """Draw a tuning into a PNG.

    Args:
        bars: from simple to complex; the first is on top.
        matrix: of the recommended candidate.
        target: the PNG, written whole or not at all.
    """
    widths = (SCORES_WIDTH, MEMBERS_WIDTH + CELL * len(matrix.labels))

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=widths)
        draw_scores(left, bars, LIGHT)
        draw_cells(right, matrix, LIGHT)
        right.set_title("recommended weights")

    height = max(height_of(bars), ROOM_BELOW + CELL * len(matrix.members))
    png = as_png(sum(widths), height, LIGHT, draw)
    with written_whole(target) as part:
        part.write_bytes(png)
