"""Colour themes of figures, and figures as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnunet_ext.files.outputs import PNG_AUTHOR

DPI = 150
SMALL, NORMAL = 8.0, 9.0


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours that can be told apart on their background, also with colour blindness.

    Attributes:
        name: `light` or `dark`.
        paper: the background, equal to that of the page's sections.
        ink: text and the most important lines.
        faint: axes and less important lines.
        colours: the colours of labels or models, in order.
        scale: name of a colour map whose lowest colour is close to the background.
    """

    name: str
    paper: str
    ink: str
    faint: str
    colours: tuple[str, ...]
    scale: str

    def colour(self, i: int) -> str:
        """The colour of the i-th label or model."""
        return self.colours[i % len(self.colours)]


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1d2530",
    faint="#77808c",
    colours=("#0072b2", "#d55e00", "#009e73", "#b5428c", "#b58900", "#3f9bd6", "#6b4fbb", "#8a5a2b"),
    scale="Blues",
)
DARK = Theme(
    name="dark",
    paper="#1a2029",
    ink="#e6e9ee",
    faint="#8d97a5",
    colours=("#5eb3ee", "#ff9a52", "#3fd0a4", "#ef8fc9", "#e8c547", "#a9d8f7", "#b7a2f5", "#d3a679"),
    scale="cividis",
)


@contextmanager
def _styled(theme: Theme) -> Iterator[None]:
    look = {
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "grid.color": theme.faint,
        "grid.alpha": 0.25,
        "font.size": NORMAL,
        "axes.titlesize": NORMAL + 1,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "legend.fontsize": SMALL,
    }
    with style.context(["default", look]):
        yield


def as_png(width: float, height: float, theme: Theme, draw: Callable[[Figure], None]) -> bytes:
    """Draw a figure and return it as a PNG.

    Args:
        width: width in inches; the page is 10 inches wide.
        height: height in inches.
        theme: the colours.
        draw: a function that draws into the empty figure.
    """
    with _styled(theme):
        figure = Figure((width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata=PNG_AUTHOR)
    return buffer.getvalue()


def plain_text(text: str) -> str:
    """A text with its dollar signs escaped, which matplotlib would read as a formula."""
    return text.replace("$", r"\$")
