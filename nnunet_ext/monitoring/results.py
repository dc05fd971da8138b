"""The results of runs: selected, sorted, summarized over folds, and written as records."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from nnunet_ext.files.escaping import csv_cell
from nnunet_ext.files.whole import written_whole
from nnunet_ext.metrics.dice import DiceSummary, mean_over_labels
from nnunet_ext.monitoring.run import Run

SortKey = Literal["name", "dice", "validation", "epochs", "seconds", "changed", "state"]


@dataclass(frozen=True)
class LabelResult:
    """The Dice of one label in one run.

    Attributes:
        best: Dice at the epoch with the best average.
        last: Dice at the last epoch.
        is_lost: whether the label was learnt and lost again.
        validation: Dice over the validation cases; None before the validation.
    """

    best: float | None = None
    last: float | None = None
    is_lost: bool = False
    validation: DiceSummary | None = None


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over `n` folds; the deviation is None for one fold."""

    mean: float
    deviation: float | None
    n: int


def label_results(run: Run) -> dict[str, LabelResult]:
    """The results of every label of a run by name, in the data set's order."""
    history, best = run.history, run.history.best
    lost = history.lost_labels()
    validation = run.validation.labels if run.validation else {}
    results = {}
    for label in dict.fromkeys((*history.labels, *validation)):
        dice = history.dice_of(label) if label in history.labels else ()
        results[label] = LabelResult(
            best=dice[best] if dice and best is not None else None,
            last=dice[-1] if dice else None,
            is_lost=label in lost,
            validation=validation.get(label),
        )
    return results


def validation_mean(run: Run) -> float | None:
    """Mean over labels of a run's validation Dice; None where there is no validation."""
    return mean_over_labels(run.validation.labels) if run.validation else None


def spread_over_folds(values: Iterable[float | None]) -> Spread | None:
    """Mean and standard deviation of the values of folds; None where no fold has a value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(fmean(known), stdev(known) if len(known) > 1 else None, len(known))


def runs_by_model(runs: Sequence[Run]) -> dict[tuple[str, str, str, str], list[Run]]:
    """Group runs by model: data set, trainer, plans and configuration."""
    groups: dict[tuple[str, str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault(run.model, []).append(run)
    return groups


def select_runs(runs: Iterable[Run], patterns: Mapping[str, Sequence[str]]) -> list[Run]:
    """Select runs by trainer, plans, configuration, fold and state.

    Args:
        runs: the runs to select from.
        patterns: names by `trainer`, `plans`, `configuration`, `fold` or `state`, with `*` for any letters;
            a run must fit one pattern of each key.
    """

    def fits(run: Run) -> bool:
        return all(
            any(fnmatchcase(_attribute(run, name), pattern) for pattern in asked)
            for name, asked in patterns.items()
        )

    return [run for run in runs if fits(run)]


def _attribute(run: Run, name: str) -> str:
    return run.state if name == "state" else str(getattr(run.folder, name))


_LARGEST_FIRST: dict[str, Callable[[Run], float | None]] = {
    "dice": lambda run: run.history.best_average,
    "validation": validation_mean,
    "epochs": lambda run: run.n_done,
    "seconds": lambda run: run.history.epoch_s(),
    "changed": lambda run: run.modified,
}


def sort_runs(runs: Iterable[Run], key: SortKey) -> list[Run]:
    """Sort runs by name or state, or by a value: the largest first, runs without the value last."""
    by_name = sorted(runs, key=lambda run: run.folder.order)
    if key == "name":
        return by_name
    if key == "state":
        return sorted(by_name, key=lambda run: run.state)
    value = _LARGEST_FIRST[key]
    values = {run.folder: value(run) for run in by_name}

    def rank(run: Run) -> float:
        number = values[run.folder]
        return math.inf if number is None else -number

    return sorted(by_name, key=rank)


def standing_record(run: Run) -> dict[str, Any]:
    """A run's name, state and progress as plain values."""
    folder = run.folder
    return {
        "dataset": folder.dataset,
        "trainer": folder.trainer,
        "plans": folder.plans,
        "configuration": folder.configuration,
        "fold": folder.fold,
        "state": run.state,
        "reason": run.standing.reason,
        "epochs": run.n_done,
        "planned": run.planned,
    }


def run_record(run: Run) -> dict[str, Any]:
    """A run as plain values, for JSON; an unknown value is None."""
    history = run.history
    best = None if history.best is None else history.epochs[history.best].number
    return {
        **standing_record(run),
        "best_average": history.best_average,
        "best_epoch": best,
        "seconds_per_epoch": history.epoch_s(),
        "hours": history.total_s / 3600,
        "validation_mean": validation_mean(run),
        "validation_mean_of_nnunet": run.validation.nnunet_mean if run.validation else None,
        "validation_cases": len(run.validation.cases) if run.validation else None,
        "labels": {name: _label_record(result) for name, result in label_results(run).items()},
        "folder": str(run.folder.path),
        "notes": list(run.notes),
    }


def _label_record(result: LabelResult) -> dict[str, Any]:
    validation = result.validation
    return {
        "best": result.best,
        "last": result.last,
        "lost": result.is_lost,
        "validation": validation.mean if validation else None,
        "cases": validation.n_holding if validation else None,
        "false_alarms": validation.n_false_alarms if validation else None,
    }


def model_record(model: tuple[str, str, str, str], runs: Sequence[Run]) -> dict[str, Any]:
    """A model over its folds as plain values, for JSON."""
    results = [label_results(run) for run in runs]
    names = dict.fromkeys(name for one in results for name in one)
    return {
        **dict(zip(("dataset", "trainer", "plans", "configuration"), model, strict=True)),
        "folds": [run.folder.fold for run in runs],
        "best_average": _spread_record(spread_over_folds(run.history.best_average for run in runs)),
        "validation_mean": _spread_record(spread_over_folds(map(validation_mean, runs))),
        "labels": {
            name: _spread_record(spread_over_folds(validation_means(results, name))) for name in names
        },
    }


def validation_means(results: Iterable[Mapping[str, LabelResult]], name: str) -> list[float | None]:
    """The mean validation Dice of one label in each of several runs."""
    found = (one[name].validation for one in results if name in one)
    return [None if summary is None else summary.mean for summary in found]


def _spread_record(spread: Spread | None) -> dict[str, Any] | None:
    if spread is None:
        return None
    return {"mean": spread.mean, "deviation": spread.deviation, "folds": spread.n}


def write_results_csv(runs: Sequence[Run], target: Path) -> None:
    """Write a row for each run, with columns such as `LABEL best` and `LABEL last` for each label."""
    rows = [
        {csv_cell(name): csv_cell(value) for name, value in _flat(run_record(run)).items()} for run in runs
    ]
    header = list(dict.fromkeys(column for row in rows for column in row))
    with (
        written_whole(target) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    labels, notes = record.pop("labels"), record.pop("notes")
    cells = {f"{name} {key}": value for name, label in labels.items() for key, value in label.items()}
    return {**record, **cells, "notes": "; ".join(notes)}
