"""`training_curves.png`: losses, Dice of each label and learning rate of a training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.files.whole import written_whole
from nnunet_ext.trainers.policies.early_stopping import nan_safe_average
from nnunet_ext.trainers.record.history import RecordedEpoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARE_OF_TIME = 0.01
ROWS_OF_LEGEND = 20
FEW_LABELS = 10  # up to so many, each has a color of its own, and the single epochs' Dice is drawn
SIZE_INCHES = (11.0, 9.0)
LEGEND_INCHES = 2.4  # width of one column
DPI = 110
BLACK, GRAY = "#222222", "#999999"


class Throttle:
    """Limits an activity to a small share of the time.

    Args:
        share: largest share of the time, 0 to 1.
        clock: clock in seconds.
    """

    def __init__(self, share: float = SHARE_OF_TIME, clock: Callable[[], float] = time.monotonic) -> None:
        self._share, self._clock = share, clock
        self._began, self._ended = 0.0, clock()
        self._took = 1.0  # assumed seconds until the activity has been measured

    @property
    def is_due(self) -> bool:
        """Whether the activity may be done now."""
        return self._clock() - self._ended >= self._took / self._share

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, *_: object) -> None:
        self._ended = self._clock()
        self._took = self._ended - self._began


@dataclass(frozen=True)
class Curves:
    """Content of the picture.

    Attributes:
        title: title of the picture.
        labels: names of the labels or regions.
        epochs: the epochs in their order.
        best_epoch: number of the epoch to mark; None for none.
    """

    title: str
    labels: tuple[str, ...]
    epochs: tuple[RecordedEpoch, ...]
    best_epoch: int | None = None


def best_epoch_of(history: Sequence[float]) -> int | None:
    """Find the first epoch with the highest value; None if all are NaN."""
    finite = [(value, -epoch) for epoch, value in enumerate(history) if math.isfinite(value)]
    return -max(finite)[1] if finite else None


class CurvesPicture:
    """`training_curves.png`, drawn again from time to time.

    Args:
        path: the file.
        title: title of the picture.
        labels: names of the labels or regions.
        throttle: limits how often it is drawn.
    """

    def __init__(
        self, path: Path, title: str, labels: Sequence[str], throttle: Throttle | None = None
    ) -> None:
        self._path, self._title, self._labels = path, title, tuple(labels)
        self._throttle = throttle or Throttle()
        self._n_drawn = 0

    def draw(
        self, epochs: Sequence[RecordedEpoch], monitored: Sequence[float], *, finish: bool = False
    ) -> None:
        """Draw the picture if it is due.

        Args:
            epochs: the epochs in their order.
            monitored: value of each epoch, whose highest is marked as the best.
            finish: draw new epochs in any case, because the training ends.
        """
        if len(epochs) != self._n_drawn and (finish or self._throttle.is_due):
            with self._throttle:
                best = best_epoch_of(monitored[: len(epochs)])
                draw_training_curves(Curves(self._title, self._labels, tuple(epochs), best), self._path)
            self._n_drawn = len(epochs)


def draw_training_curves(curves: Curves, path: Path) -> None:
    """Draw the curves into a PNG, which is written whole or not at all."""
    # pyplot is not used: nnU-Net's own picture of the progress changes its settings.
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = math.ceil((len(curves.labels) + 2) / ROWS_OF_LEGEND)
    width, height = SIZE_INCHES
    with style.context("default"):
        figure = Figure((width + LEGEND_INCHES * n_columns, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(curves.title, fontsize=12)
        losses, dice, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 4, 1.5))
        _draw_losses(losses, curves)
        _draw_dice(dice, curves, n_columns)
        _draw_rate(rate, curves)
        for axes in (losses, dice, rate):
            axes.grid(alpha=0.25)
        _mark_best((losses, dice, rate), curves)
        with written_whole(path) as part:
            figure.savefig(part, format="png")


def _draw_losses(axes: Axes, curves: Curves) -> None:
    for name, color, values in (
        ("training", "tab:blue", [one.train_loss for one in curves.epochs]),
        ("validation", "tab:red", [one.val_loss for one in curves.epochs]),
    ):
        _line(axes, values, color=color, linewidth=1.2, label=_with_last(name, values))
    axes.set_ylabel("loss")
    _legend(axes, "Loss (last)")


def _draw_dice(axes: Axes, curves: Curves, n_columns: int) -> None:
    """Draw the moving averages, which an epoch without a Dice leaves as they were."""
    colors, styles = _looks(len(curves.labels))
    per_label = zip(*(one.dice for one in curves.epochs), strict=True)
    for name, color, style, values in zip(curves.labels, colors, styles, per_label, strict=True):
        if len(curves.labels) <= FEW_LABELS:
            _line(axes, values, color=color, alpha=0.25, linewidth=0.8)
        average = nan_safe_average(values)
        _line(axes, average, color=color, linestyle=style, linewidth=1.5, label=_with_last(name, average))
    average = [one.dice_average for one in curves.epochs]
    _line(axes, average, color=BLACK, linewidth=3, label=_with_last("mean", average))
    axes.set_ylabel("Dice")
    axes.set_ylim(0, 1)
    _legend(axes, "Dice, moving average (last)", n_columns)


def _draw_rate(axes: Axes, curves: Curves) -> None:
    from matplotlib.ticker import MaxNLocator

    values = [one.learning_rate for one in curves.epochs]
    _line(axes, values, color="tab:green", linewidth=2, label=_with_last("", values, "{:.2g}"))
    axes.set_ylabel("learning rate")
    highest = max(filter(math.isfinite, values), default=0.0)
    axes.set_ylim(0, 1.05 * highest or None)
    axes.set_xlabel("epoch")
    axes.set_xlim(-0.5, max(len(values) - 0.5, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter("{x:g}")
    _legend(axes, "Learning rate (last)")


def _mark_best(panels: Sequence[Axes], curves: Curves) -> None:
    if curves.best_epoch is None:
        return
    for axes in panels:
        axes.axvline(curves.best_epoch, color=GRAY, linestyle="--", linewidth=1, zorder=0)
    value = curves.epochs[curves.best_epoch].dice_average
    text = f"best: epoch {curves.best_epoch}" + (f", {value:.3f}" if math.isfinite(value) else "")
    is_late = curves.best_epoch > len(curves.epochs) / 2
    panels[1].annotate(
        text,
        (curves.best_epoch, 0.02),
        xytext=(-5 if is_late else 5, 0),
        textcoords="offset points",
        ha="right" if is_late else "left",
        va="bottom",
        fontsize=9,
        color=BLACK,
    )


def _looks(n_labels: int) -> tuple[list[Any], list[str]]:
    """Choose a color and a kind of line for each label."""
    from matplotlib import colormaps

    palette = colormaps["tab10" if n_labels <= FEW_LABELS else "tab20"]
    colors = [palette(i) for i in range(palette.N)]
    kinds = ("-", "--", ":", "-.")
    return (
        [colors[i % len(colors)] for i in range(n_labels)],
        [kinds[i // len(colors) % len(kinds)] for i in range(n_labels)],
    )


def _line(axes: Axes, values: Sequence[float], **look: Any) -> None:
    """Draw a line with gaps at NaN; an epoch between two gaps is a dot."""
    shown = [value if math.isfinite(value) else math.nan for value in values]
    axes.plot(range(len(shown)), shown, **look)
    alone = [
        epoch
        for epoch, value in enumerate(shown)
        if all(math.isnan(one) for one in (*shown[max(epoch - 1, 0) : epoch], *shown[epoch + 1 : epoch + 2]))
        and math.isfinite(value)
    ]
    if alone:
        look = {**look, "label": None, "linestyle": ""}
        axes.plot(alone, [shown[epoch] for epoch in alone], marker="o", markersize=3, **look)


def _with_last(name: str, values: Sequence[float], form: str = "{:.3f}") -> str:
    """Make the legend's text: the last finite value and the name."""
    last = next((value for value in reversed(values) if math.isfinite(value)), None)
    # Dollar signs would make matplotlib read a formula.
    name = name.replace("$", r"\$")
    return f"{'-' if last is None else form.format(last)}  {name}"


def _legend(axes: Axes, title: str, n_columns: int = 1) -> None:
    axes.legend(
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.005, 1.02),
        frameon=False,
        fontsize=8,
        title_fontsize=9,
        alignment="left",
        ncols=n_columns,
    )
