"""Tables of the results of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from nnunet_ext.display.tables import NOTHING, Table
from nnunet_ext.metrics.dice import MEAN_OF_LABELS, MEAN_OF_LABELS_DEFINED
from nnunet_ext.monitoring.results import (
    LabelResult,
    Spread,
    label_results,
    runs_by_model,
    spread_over_folds,
    validation_mean,
    validation_means,
)
from nnunet_ext.monitoring.run import Run
from nnunet_ext.nnunet.history import History
from nnunet_ext.nnunet.model_folder import FoldFolder

KEYS = ("trainer", "plans", "configuration")
BEST_MARK = "best"


def result_tables(runs: Sequence[Run]) -> list[Table]:
    """Three tables for each data set: the runs' states, the labels in training, the labels in validation.

    The third is left out where no run has a validation. A model of several folds has a row with the mean and,
    behind `+-`, the standard deviation over folds. A trainer, plans or configuration that all runs of a data
    set share stands in the title instead of a column.
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
    """The runs of a data set, and the names in which they differ."""

    runs: tuple[Run, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The columns that name a run: the keys in which runs differ, and the fold."""
        return (*(key for key in KEYS if len(self._values(key)) > 1), "fold")

    @property
    def shared(self) -> tuple[str, ...]:
        """The names that all runs share."""
        return tuple(self._values(key).pop() for key in KEYS if len(self._values(key)) == 1)

    def _values(self, key: str) -> set[str]:
        return {getattr(run.folder, key) for run in self.runs}

    def cells(self, run: Run) -> tuple[str, ...]:
        """The cells that name a run."""
        return tuple(getattr(run.folder, key) for key in self.keys)

    @cached_property
    def results(self) -> dict[FoldFolder, dict[str, LabelResult]]:
        """The results of the labels of each run."""
        return {run.folder: label_results(run) for run in self.runs}

    def rows(self) -> Iterator[tuple[Run, dict[str, LabelResult]]]:
        """Each run with the results of its labels."""
        return ((run, self.results[run.folder]) for run in self.runs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the labels of all runs."""
        return tuple(dict.fromkeys(name for one in self.results.values() for name in one))

    def models_of_several_folds(self) -> list[tuple[tuple[str, ...], list[Run]]]:
        """The models with several folds, each with its row's leading cells and its runs."""
        some = (folds for folds in runs_by_model(self.runs).values() if len(folds) > 1)
        return [((*self.cells(folds[0])[:-1], "mean"), folds) for folds in some]


def _standing_table(title: str, group: _Group) -> Table:
    header = (*group.keys, "state", "epochs", "best average", "at epoch", "s/epoch", "hours")
    rows = [
        (*group.cells(run), run.state, _epochs(run), *_best(run.history), *_times(run)) for run in group.runs
    ]
    for key, some in group.models_of_several_folds():
        best = _spread(spread_over_folds(run.history.best_average for run in some))
        seconds = _spread(spread_over_folds(run.history.epoch_s() for run in some), ".1f")
        hours = f"{sum(run.history.total_s for run in some) / 3600:.1f}"
        rows.append((*key, "", "", best, "", seconds, hours))
    return Table(header, tuple(rows), title)


def _epochs(run: Run) -> str:
    return str(run.n_done) if run.planned is None else f"{run.n_done} of {run.planned}"


def _best(history: History) -> tuple[str, str]:
    at = NOTHING if history.best is None else str(history.epochs[history.best].number)
    return number_cell(history.best_average), at


def _times(run: Run) -> tuple[str, str]:
    return number_cell(run.history.epoch_s(), ".1f"), f"{run.history.total_s / 3600:.1f}"


def _training_table(title: str, group: _Group) -> Table:
    rows = [
        (*group.cells(run), *(_training_cell(one.get(name, LabelResult())) for name in group.names))
        for run, one in group.rows()
    ]
    about = f"{title}: Dice in training, at the best and at the last epoch"
    return Table((*group.keys, *group.names), tuple(rows), about)


def _training_cell(result: LabelResult) -> str:
    cell = f"{number_cell(result.best)} {number_cell(result.last)}"
    return f"{cell} LOST" if result.is_lost else cell


def _validation_table(title: str, group: _Group) -> Table:
    rows = [
        (
            *group.cells(run),
            *(_validation_cell(one.get(name)) for name in group.names),
            number_cell(validation_mean(run)),
        )
        for run, one in group.rows()
    ]
    for key, some in group.models_of_several_folds():
        each = [group.results[run.folder] for run in some]
        spreads = [_spread(spread_over_folds(validation_means(each, name))) for name in group.names]
        rows.append((*key, *spreads, _spread(spread_over_folds(map(validation_mean, some)))))
    about = (
        f"{title}: Dice in validation, the number of cases that hold the label, and of false alarms; "
        f"{MEAN_OF_LABELS_DEFINED}"
    )
    return Table((*group.keys, *group.names, MEAN_OF_LABELS), tuple(rows), about)


def _validation_cell(result: LabelResult | None) -> str:
    summary = result.validation if result else None
    if summary is None:
        return NOTHING
    alarms = f", {summary.n_false_alarms} false" if summary.n_false_alarms else ""
    return f"{number_cell(summary.mean)} ({summary.n_holding}{alarms})"


def number_cell(value: float | None, form: str = ".3f") -> str:
    """A number as the text of a cell; a dash for None."""
    return NOTHING if value is None else format(value, form)


def _spread(spread: Spread | None, form: str = ".3f") -> str:
    if spread is None:
        return NOTHING
    mean = format(spread.mean, form)
    return mean if spread.deviation is None else f"{mean} +- {format(spread.deviation, form)}"


def evolution_table(run: Run, every: int) -> Table:
    """A table of Dice per label at every n-th epoch, and at the best and the last epoch.

    Args:
        run: the run.
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
    dice = [number_cell(history.dice_of(label)[i]) for label in history.labels]
    values = (number_cell(history.averages[i]), number_cell(epoch.train_loss), number_cell(epoch.val_loss))
    return (str(epoch.number), *values, *dice, BEST_MARK if i == history.best else "")
