"""The results of runs as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from nnunet_ext.display.tables import NOTHING, Table
from nnunet_ext.monitoring.results import (
    LabelResult,
    Spread,
    label_results,
    models,
    over_folds,
    validation_mean,
    validations,
)
from nnunet_ext.monitoring.run import Run
from nnunet_ext.nnunet.history import History
from nnunet_ext.nnunet.model_folder import FoldFolder

KEYS = ("trainer", "plans", "configuration")
BEST_MARK = "best"


def result_tables(runs: Sequence[Run]) -> list[Table]:
    """Three tables a data set: how its runs stand, each label in training, each label in validation.

    The last is left out where no run has a validation. A model of several folds has a row with their
    mean and, behind `+-`, their standard deviation. A trainer, plans or configuration that all runs of
    a data set share stands in the titles, and in no column.
    """
    by_dataset: dict[str, list[Run]] = {}
    for run in runs:
        by_dataset.setdefault(run.folder.dataset, []).append(run)
    return [table for dataset, some in by_dataset.items() for table in _dataset_tables(dataset, some)]


def _dataset_tables(dataset: str, runs: Sequence[Run]) -> list[Table]:
    group = _Group(tuple(runs))
    title = " ".join((dataset, *group.shared))
    tables = [_standing_table(title, group), _training_table(title, group)]
    if any(run.validation and run.validation.cases for run in runs):
        tables.append(_validation_table(title, group))
    return tables


@dataclass(frozen=True)
class _Group:
    """The runs of a data set, and what tells them from each other."""

    runs: tuple[Run, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The columns that name a run: what differs, and the fold."""
        return (*(key for key in KEYS if len(self._values(key)) > 1), "fold")

    @property
    def shared(self) -> tuple[str, ...]:
        """What does not differ."""
        return tuple(self._values(key).pop() for key in KEYS if len(self._values(key)) == 1)

    def _values(self, key: str) -> set[str]:
        return {getattr(run.folder, key) for run in self.runs}

    def cells(self, run: Run) -> tuple[str, ...]:
        """The cells that name a run."""
        return tuple(getattr(run.folder, key) for key in self.keys)

    @cached_property
    def results(self) -> dict[FoldFolder, dict[str, LabelResult]]:
        """The labels of each run."""
        return {run.folder: label_results(run) for run in self.runs}

    def rows(self) -> Iterator[tuple[Run, dict[str, LabelResult]]]:
        """Each run with its labels."""
        return ((run, self.results[run.folder]) for run in self.runs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The labels of all runs."""
        return tuple(dict.fromkeys(name for one in self.results.values() for name in one))

    def several(self) -> list[tuple[tuple[str, ...], list[Run]]]:
        """The models with several folds, each with the cells that name it."""
        some = (folds for folds in models(self.runs).values() if len(folds) > 1)
        return [((*self.cells(folds[0])[:-1], "mean"), folds) for folds in some]


def _standing_table(title: str, group: _Group) -> Table:
    header = (*group.keys, "state", "epochs", "best average", "at epoch", "s/epoch", "hours")
    rows = [
        (*group.cells(run), run.state, _epochs(run), *_best(run.history), *_times(run)) for run in group.runs
    ]
    for key, some in group.several():
        best = _spread(over_folds(run.history.best_average for run in some))
        seconds = _spread(over_folds(run.history.epoch_s() for run in some), ".1f")
        hours = f"{sum(run.history.total_s for run in some) / 3600:.1f}"
        rows.append((*key, "", "", best, "", seconds, hours))
    return Table(header, tuple(rows), title)


def _epochs(run: Run) -> str:
    return str(run.n_done) if run.planned is None else f"{run.n_done} of {run.planned}"


def _best(history: History) -> tuple[str, str]:
    at = NOTHING if history.best is None else str(history.epochs[history.best].number)
    return number(history.best_average), at


def _times(run: Run) -> tuple[str, str]:
    return number(run.history.epoch_s(), ".1f"), f"{run.history.total_s / 3600:.1f}"


def _training_table(title: str, group: _Group) -> Table:
    rows = [
        (*group.cells(run), *(_training_cell(one.get(name, LabelResult())) for name in group.names))
        for run, one in group.rows()
    ]
    about = f"{title}: Dice in training, at the best and at the last epoch"
    return Table((*group.keys, *group.names), tuple(rows), about)


def _training_cell(result: LabelResult) -> str:
    cell = f"{number(result.best)} {number(result.last)}"
    return f"{cell} LOST" if result.is_lost else cell


def _validation_table(title: str, group: _Group) -> Table:
    rows = [
        (
            *group.cells(run),
            *(_validation_cell(one.get(name)) for name in group.names),
            number(validation_mean(run)),
        )
        for run, one in group.rows()
    ]
    for key, some in group.several():
        each = [group.results[run.folder] for run in some]
        spreads = [_spread(over_folds(validations(each, name))) for name in group.names]
        rows.append((*key, *spreads, _spread(over_folds(map(validation_mean, some)))))
    about = f"{title}: Dice in validation, the number of cases that hold the label, and of false alarms"
    return Table((*group.keys, *group.names, "mean of labels"), tuple(rows), about)


def _validation_cell(result: LabelResult | None) -> str:
    summary = result.validation if result else None
    if summary is None:
        return NOTHING
    alarms = f", {summary.n_false_alarms} false" if summary.n_false_alarms else ""
    return f"{number(summary.mean)} ({summary.n_holding}{alarms})"


def number(value: float | None, form: str = ".3f") -> str:
    """A number as a cell; a dash for none."""
    return NOTHING if value is None else format(value, form)


def _spread(spread: Spread | None, form: str = ".3f") -> str:
    if spread is None:
        return NOTHING
    mean = format(spread.mean, form)
    return mean if spread.deviation is None else f"{mean} +- {format(spread.deviation, form)}"


def evolution_table(run: Run, every: int) -> Table:
    """Dice per label every so many epochs, and at the best and the last epoch.

    Args:
        run: whose.
        every: epochs from one row to the next, 1 or more.
    """
    history = run.history
    last = len(history.epochs) - 1
    always = (history.best, last)
    shown = (i for i, epoch in enumerate(history.epochs) if epoch.number % every == 0 or i in always)
    rows = tuple(_evolution_row(history, i) for i in shown)
    header = ("epoch", "average", "train loss", "val loss", *history.labels, "")
    return Table(header, rows, f"{run.folder.dataset} {run.folder.name}")


def _evolution_row(history: History, i: int) -> tuple[str, ...]:
    epoch = history.epochs[i]
    dice = [number(history.dice_of(label)[i]) for label in history.labels]
    values = (number(history.averages[i]), number(epoch.train_loss), number(epoch.val_loss))
    return (str(epoch.number), *values, *dice, BEST_MARK if i == history.best else "")
