"""A model's training: losses, Dice of each label and learning rate, its folds as thin lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnunet_ext.display.themes import Theme, as_png, plain_text
from nnunet_ext.nnunet.history import History, moving_average

WIDTH, HEIGHT = 10.0, 7.5
THIN, THICK = 0.8, 2.0
LABELS_A_COLUMN = 16
LINE_STYLES = ("-", "--", ":", "-.")
Values = Sequence[float | None]
Points = dict[int, float]


def draw_curves(histories: Sequence[History], theme: Theme) -> bytes:
    """Draw the folds of one model.

    Each fold is a thin line, the mean over the epochs that all have a thick one; Dice are moving
    averages, the mean of the labels in ink, and a ring marks each fold's best epoch.

    Args:
        histories: one a fold; at least one with an epoch.
        theme: the colours.

    Returns:
        A PNG.
    """
    shown = [history for history in histories if history.epochs]

    def draw(figure: Figure) -> None:
        losses, dice, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 4, 1.5))
        _draw_losses(losses, shown, theme)
        _draw_dice(dice, shown, theme)
        _draw_rate(rate, shown, theme)

    return as_png(WIDTH, HEIGHT, theme, draw)


def _draw_losses(axes: Axes, histories: Sequence[History], theme: Theme) -> None:
    for i, (name, attribute) in enumerate((("training", "train_loss"), ("validation", "val_loss"))):
        series = [_points(one, [getattr(epoch, attribute) for epoch in one.epochs]) for one in histories]
        _lines(axes, series, theme.colour(i), name)
    axes.set_title("Loss")
    _legend(axes, 1)


def _draw_dice(axes: Axes, histories: Sequence[History], theme: Theme) -> None:
    names = list(dict.fromkeys(name for one in histories for name in one.labels))
    for i, name in enumerate(names):
        series = [_points(one, moving_average(one.dice_of(name))) for one in histories if name in one.labels]
        style = LINE_STYLES[i // len(theme.colours) % len(LINE_STYLES)]
        _lines(axes, series, theme.colour(i), name, style)
    means = [_points(one, one.averages) for one in histories]
    _lines(axes, means, theme.ink, "mean of labels")
    best = [(one.epochs[one.best].number, one.best_average) for one in histories if one.best is not None]
    if best:
        axes.plot(
            *zip(*best, strict=True),
            "o",
            markersize=8,
            markerfacecolor="none",
            markeredgewidth=1.6,
            color=theme.ink,
            label="best epoch of a fold",
            clip_on=False,
            zorder=5,
        )
    axes.set_ylim(0, 1)
    axes.set_title("Dice, moving average")
    _legend(axes, math.ceil((len(names) + 2) / LABELS_A_COLUMN))


def _draw_rate(axes: Axes, histories: Sequence[History], theme: Theme) -> None:
    series = [_points(one, [epoch.learning_rate for epoch in one.epochs]) for one in histories]
    _lines(axes, series, theme.colour(2), None)
    axes.set_title("Learning rate")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter("{x:g}")


def _points(history: History, values: Values) -> Points:
    pairs = zip(history.epochs, values, strict=True)
    return {epoch.number: value for epoch, value in pairs if value is not None}


def _lines(axes: Axes, series: Sequence[Points], colour: str, name: str | None, style: str = "-") -> None:
    label = None if name is None else plain_text(name)
    mean = _mean_of(series) if len(series) > 1 else {}
    has_mean = len(mean) > 1
    for i, points in enumerate(series):
        axes.plot(
            list(points),
            list(points.values()),
            color=colour,
            linestyle=style,
            linewidth=THIN if has_mean else THICK,
            alpha=0.55 if has_mean else 1.0,
            # Of a single epoch there is a point, where a line would show nothing.
            marker="." if len(points) == 1 else "",
            label=None if has_mean or i else label,
        )
    if has_mean:
        axes.plot(
            list(mean), list(mean.values()), color=colour, linestyle=style, linewidth=THICK, label=label
        )


def _mean_of(series: Sequence[Points]) -> Points:
    """Mean over folds, of the epochs that all of them have."""
    common = set.intersection(*(set(points) for points in series))
    return {number: fmean(points[number] for points in series) for number in sorted(common)}


def _legend(axes: Axes, n_columns: int) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=n_columns)
