"""The report's figures: the curves of a model's trainings, and the Dice of each case as a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnunet_ext.display.themes import SMALL, Theme, as_png, plain_text
from nnunet_ext.nnunet.history import History, moving_average
from nnunet_ext.report.model_dice import ModelDice

WIDTH, CURVES_HEIGHT = 10.0, 7.5  # inches
THIN, THICK = 0.8, 2.0
LABELS_A_COLUMN = 16
LINE_STYLES = ("-", "--", ":", "-.")
ROW, ROOM = 0.42, 0.75  # inches: a model's row of points, and what a panel needs beside its rows
FEW_PANELS = 3  # up to so many panels have the whole width each
LEFT_END = 0.12  # Dice below which a point's name stands on its right
BIN, STEP, MOST_OFFSET = 0.008, 0.07, 0.36  # points within one bin are moved apart by steps

Values = Sequence[float | None]
Points = dict[int, float]


def draw_model_curves(histories: Sequence[History], theme: Theme) -> bytes:
    """Draw losses, Dice per label and learning rate of one model's folds.

    Each fold is a thin line; a thick line is their mean over the epochs that all folds have. Dice values are
    moving averages, their mean over labels is drawn in the text colour, and a ring marks each fold's best
    epoch.

    Args:
        histories: one history a fold; at least one holds an epoch.
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

    return as_png(WIDTH, CURVES_HEIGHT, theme, draw)


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
            # A line of a single epoch would show nothing, so it is a point.
            marker="." if len(points) == 1 else "",
            label=None if has_mean or i else label,
        )
    if has_mean:
        axes.plot(
            list(mean), list(mean.values()), color=colour, linestyle=style, linewidth=THICK, label=label
        )


def _mean_of(series: Sequence[Points]) -> Points:
    """Mean over the folds at each epoch that all of them have."""
    common = set.intersection(*(set(points) for points in series))
    return {number: fmean(points[number] for points in series) for number in sorted(common)}


def _legend(axes: Axes, n_columns: int) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=n_columns)


def draw_case_points(every: Sequence[ModelDice], labels: Sequence[str], theme: Theme) -> bytes:
    """Draw the Dice of each case as a point: one panel a label, one row a model.

    A bar marks the median of a row, whose worst case is named. All panels have the same scale.

    Args:
        every: the Dice of each model; at least one.
        labels: their names; at least one.
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


def _values(model_dice: ModelDice, label: str) -> list[tuple[float, str]]:
    """Dice and name of each case that holds a label, in rising order."""
    values = ((model_dice.dice(case_id, label), case_id) for case_id in model_dice.cases)
    return sorted((dice, case_id) for dice, case_id in values if dice is not None)


def _draw_label(axes: Axes, every: Sequence[ModelDice], label: str, theme: Theme) -> None:
    for row, model_dice in enumerate(every):
        values = _values(model_dice, label)
        if not values:
            continue
        dice = [value for value, _ in values]
        heights = [row + offset for offset in _offsets(dice)]
        axes.plot(dice, heights, "o", color=theme.colour(row), markersize=4.5, alpha=0.7, markeredgewidth=0)
        axes.plot([median(dice)] * 2, [row - 0.38, row + 0.38], color=theme.ink, linewidth=1.8)
        axes.annotate(
            plain_text(values[0][1]),
            (dice[0], heights[0]),
            # No point lies to the left of the worst one, so its name fits there unless the axis is near.
            xytext=(5, 5) if dice[0] < LEFT_END else (-5, 4),
            ha="left" if dice[0] < LEFT_END else "right",
            textcoords="offset points",
            fontsize=SMALL - 1.5,
            color=theme.ink,
        )
    axes.set_yticks(range(len(every)), [plain_text(model_dice.name) for model_dice in every])
    axes.grid(axis="y", visible=False)
    axes.set_title(plain_text(label.replace("_", " ")))
    axes.tick_params(labelbottom=True)


def _offsets(rising: Sequence[float]) -> list[float]:
    """Offset of each point from its row, so that points of about the same Dice lie side by side."""
    offsets: list[float] = []
    place, started = 0, -math.inf
    for value in rising:
        place, started = (place + 1, started) if value - started < BIN else (0, value)
        side = 1 if place % 2 else -1
        offsets.append(max(-MOST_OFFSET, min(MOST_OFFSET, side * math.ceil(place / 2) * STEP)))
    return offsets
