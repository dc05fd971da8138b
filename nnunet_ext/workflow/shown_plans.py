"""An ensemble's plan and its tuning, as a report shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnunet_ext.ensemble.plan import Plan, resolve_weights
from nnunet_ext.ensemble.plan_file import read_plan
from nnunet_ext.errors import DatasetError, NnunetExtError
from nnunet_ext.labels import Dataset, Labels
from nnunet_ext.report.pictures.weights import WeightMatrix

TUNING_REPORT = "tuning_report.json"
MOST_TUNING_ROWS = 40


def shown_plan(
    path: Path | None, dataset: Dataset | None, faults: list[str]
) -> tuple[WeightMatrix | None, tuple[tuple[str, str], ...]]:
    """The plan's weights, and what its tuning found, each where it is there.

    Args:
        path: the plan, beside which a tuning_report.json may lie, or such a report; None for none.
        dataset: whose labels have the weights.
        faults: a sentence is added for what cannot be shown.

    Returns:
        The weights, and the plain values of the report by their names, two levels deep.

    Raises:
        PlanError: the plan cannot be read.
    """
    if path is None:
        return None, ()
    if path.suffix == ".json":
        return None, _tuning(path, faults)
    plan = read_plan(path)
    report = path.with_name(TUNING_REPORT)
    tuning = _tuning(report, faults) if report.is_file() else ()
    try:
        if dataset is None:
            raise DatasetError("no dataset.json can be read, so that labels have no names.")
        return _matrix(plan, dataset.labels), tuning
    except NnunetExtError as error:
        faults.append(f"The weights of {path} are not shown: {error}")
        return None, tuning


def _matrix(plan: Plan, labels: Labels) -> WeightMatrix:
    weights = resolve_weights(plan, labels)
    return WeightMatrix(
        tuple(member.name for member in plan.members),
        labels.names,
        tuple(tuple(map(float, row)) for row in weights),
        tuple(map(_step_in_words, plan.postprocess)),
    )


def _step_in_words(step: Any) -> str:
    if not isinstance(step, dict):
        return str(step)
    return ", ".join(f"{name} {_options(options)}".strip() for name, options in step.items())


def _options(options: Any) -> str:
    if not isinstance(options, dict) or not options:
        return ""
    texts = (f"{key} {', '.join(map(str, value)) if isinstance(value, list) else value}"
             for key, value in options.items())  # fmt: skip
    return f"({'; '.join(texts)})"


def _tuning(path: Path, faults: list[str]) -> tuple[tuple[str, str], ...]:
    """The plain values of a tuning's report, two levels deep."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        faults.append(f"{path} cannot be read: {error}")
        return ()
    return tuple(_plain(content))[:MOST_TUNING_ROWS]


def _plain(content: Any, names: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    if isinstance(content, dict) and len(names) < 3:
        return [row for key, value in content.items() for row in _plain(value, (*names, str(key)))]
    if content is None or isinstance(content, (dict, list)):
        return []
    return [(", ".join(names), f"{content:.4f}" if isinstance(content, float) else str(content))]
