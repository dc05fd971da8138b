"""An ensemble's weights as a matrix of members and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.axes import Axes

from nnunet_ext.report.pictures.themes import LIGHT, Theme, as_png, plain_text

CELL_WIDTH, CELL_HEIGHT, ROOM_RIGHT, ROOM_BELOW = 1.1, 0.45, 2.2, 1.0  # inches
MOST_WIDTH = 16.0
BRIGHT = 0.55


@dataclass(frozen=True)
class WeightMatrix:
    """An ensemble's weights.

    Attributes:
        members: one a row.
        labels: one a column.
        weights: `weights[row][column]`, each column summing to 1.
        steps: of post-processing, in words.
    """

    members: Sequence[str]
    labels: Sequence[str]
    weights: Sequence[Sequence[float]]
    steps: tuple[str, ...] = ()


def draw_weights(matrix: WeightMatrix, theme: Theme) -> bytes:
    """Draw the matrix, each cell with its value, as a PNG."""
    width = min(MOST_WIDTH, ROOM_RIGHT + CELL_WIDTH * len(matrix.labels))
    height = ROOM_BELOW + CELL_HEIGHT * len(matrix.members)
    return as_png(width, height, theme, lambda figure: draw_cells(figure.subplots(), matrix, theme))


def draw_cells(axes: Axes, matrix: WeightMatrix, theme: Theme) -> None:
    """Draw the matrix into a part of a figure."""
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
