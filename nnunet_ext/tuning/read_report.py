"""What `nnunet_ext tune` found, read back from the report beside its plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DamagedFile
from nnunet_ext.files.documents import read_json
from nnunet_ext.metrics.dice import DiceSummary
from nnunet_ext.tuning.pictures import WeightMatrix

OVER = {
    "mean": "the mean of the labels' Dice",
    "pooled": "the mean of the labels' Dice, with the voxels of all cases taken as one",
    "worst": "the lowest of the labels' Dice",
}
ABSENT = {
    "nnunet": "a false alarm counts as 0",
    "one": "a case without a label counts as 1, a false alarm as 0",
    "zero": "a case without a label counts as 0",
    "left_out": "false alarms do not count",
}


@dataclass(frozen=True, kw_only=True)
class TunedCandidate:
    """One way to weigh the members. A score that does not exist is None.

    Attributes:
        name: as the tuning calls it.
        held_out: its score on cases that its weights were not fitted on.
        standard_error: of that score, over cases.
        fitted: its score with weights fitted on all cases.
        behind_best: by how much the best candidate is better, held out.
        tolerance: how far behind may be chance.
        is_eligible: whether its post-processing holds on cases that it was not learnt on.
        labels: each label's held-out Dice.
    """

    name: str
    held_out: float | None
    standard_error: float | None
    fitted: float | None
    behind_best: float | None
    tolerance: float | None
    is_eligible: bool
    labels: Mapping[str, DiceSummary]


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """What a tuning found.

    Attributes:
        plan: name of the plan that was written with it.
        candidates: from simple to complex.
        recommended: name of the one to take.
        weights: of that one, with its steps.
        verdict: the recommendation with its reason, and what to beware of, a phrase each.
        score: what it is, in words.
        n_cases: that were scored.
        n_parts: that were held out one after the other.
        left_out: cases that were not scored and what is missing, a sentence each.
    """

    plan: str
    candidates: tuple[TunedCandidate, ...]
    recommended: str
    weights: WeightMatrix
    verdict: tuple[str, ...]
    score: str
    n_cases: int
    n_parts: int
    left_out: tuple[str, ...] = ()

    @property
    def chosen(self) -> TunedCandidate:
        """The recommended candidate."""
        return next(one for one in self.candidates if one.name == self.recommended)


def read_tuning(path: Path) -> TuningReport:
    """Read a tuning report; what later versions add to it is passed over.

    Raises:
        DamagedFile: it cannot be read, or is not what `nnunet_ext tune` writes.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} cannot be read: {error}") from error
    try:
        return _report(content)
    except KeyError as error:
        raise DamagedFile(f"{path} is no report of nnunet_ext tune: it has no {error}.") from error
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise DamagedFile(f"{path} is no report of nnunet_ext tune: {error}.") from error


def _report(content: Any) -> TuningReport:
    failed = {str(case): str(reason) for case, reason in content["failed"].items()}
    by_name = {str(one["name"]): one for one in content["candidates"]}
    recommended = str(content["recommended"])
    if recommended not in by_name:
        raise ValueError(f"it recommends {recommended}, which is none of its candidates")
    return TuningReport(
        plan=Path(content["plan"]).name,
        candidates=tuple(map(_candidate, by_name.values())),
        recommended=recommended,
        weights=_weights(by_name[recommended], tuple(content["members"])),
        verdict=tuple(map(str, content["verdict"])),
        score=_score(content["objective"]),
        n_cases=len(content["cases"]),
        n_parts=len(set(content["cases"].values())),
        left_out=(*(f"{case}: {reason}" for case, reason in failed.items()), *map(str, content["missing"])),
    )


def _score(objective: Mapping[str, Any]) -> str:
    over, absent = str(objective["over"]), str(objective["absent"])
    return f"{OVER.get(over, over)}; {ABSENT.get(absent, absent)}"


def _candidate(content: Mapping[str, Any]) -> TunedCandidate:
    return TunedCandidate(
        name=str(content["name"]),
        is_eligible=bool(content["eligible"]),
        labels={str(name): _summary(one) for name, one in content["labels_held_out"].items()},
        **{name: _number(content[name]) for name in ("held_out", "standard_error", "fitted")},
        **{name: _number(content[name]) for name in ("behind_best", "tolerance")},
    )


def _summary(content: Mapping[str, Any]) -> DiceSummary:
    counts = (int(content[name]) for name in ("n_cases", "n_holding", "n_false_alarms"))
    return DiceSummary(_number(content["mean"]), *counts)


def _number(value: Any) -> float | None:
    number = None if value is None else float(value)
    return None if number is None or not math.isfinite(number) else number


def _weights(content: Mapping[str, Any], members: tuple[str, ...]) -> WeightMatrix:
    columns = content["weights"]
    return WeightMatrix(
        members,
        tuple(map(str, columns)),
        tuple(tuple(float(column[member]) for column in columns.values()) for member in members),
        tuple(map(step_in_words, content["postprocess"])),
    )


def step_in_words(step: Any) -> str:
    """A step of post-processing as a plan writes it, in words: `keep_largest (labels liver)`."""
    if not isinstance(step, dict):
        return str(step)
    return ", ".join(f"{name} {_options(options)}".strip() for name, options in step.items())


def _options(options: Any) -> str:
    if not isinstance(options, dict) or not options:
        return ""
    texts = (f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
             for name, value in options.items())  # fmt: skip
    return f"({'; '.join(texts)})"
