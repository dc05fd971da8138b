"""Runs that compare folders of predictions with their references."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import UsageError
from nnunet_ext.evaluation.comparison import Comparison, compare_scores
from nnunet_ext.evaluation.intervals import Interval
from nnunet_ext.evaluation.label_scores import LabelScores, measures_of, score_labels
from nnunet_ext.evaluation.pairs import Pair, PairScores, evaluate_pair
from nnunet_ext.evaluation.summary import SUMMARY, read_summary, summary_key, write_summary
from nnunet_ext.files import write_json, written_whole
from nnunet_ext.labels import Dataset, read_dataset
from nnunet_ext.overlap import foreground_names
from nnunet_ext.volumes import find_images
from nnunet_ext.workers import default_processes, run_jobs

CASES = "cases.csv"
EVALUATION = "evaluation.json"
COMPARISON = "comparison.json"

OnPair = Callable[[str, str | None, int], None]


def _say_nothing(case_id: str, reason: str | None, n_cases: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        folder: of `cases.csv`, `evaluation.json` and nnU-Net's `summary.json`.
        cases: one a compared case, sorted by name.
        labels: each label over all of them.
        overall: by measure, the mean of the labels' means.
        failed: why a case was not compared, by case.
        unpredicted: references without a prediction.
    """

    folder: Path
    cases: tuple[PairScores, ...]
    labels: tuple[LabelScores, ...]
    overall: dict[str, Interval]
    failed: dict[str, str]
    unpredicted: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every prediction was compared."""
        return not self.failed


def run_evaluation(
    predictions: Path,
    references: Path,
    output: Path,
    *,
    dataset: Path,
    tolerance_mm: float | None = None,
    n_processes: int | None = None,
    on_pair: OnPair = _say_nothing,
) -> Evaluation:
    """Compare every prediction of a folder with its reference of the same name.

    Args:
        predictions: one segmentation a case.
        references: the same; those without a prediction are told and do not count.
        output: folder for `cases.csv`, `evaluation.json` and `summary.json`.
        dataset: the dataset.json.
        tolerance_mm: of the surface Dice; None compares no surfaces.
        n_processes: workers side by side; 0 is none but this process; None is one a processor.
        on_pair: called with each case, why it failed or None, and the number of cases.

    Returns:
        The scores; a case that failed is in them with its reason, and the others are compared.

    Raises:
        DatasetError, UsageError: before the first case is read, or where none could be compared.
    """
    data = read_dataset(dataset)
    predicted = find_images(predictions, data.file_ending, scans=False)
    expected = find_images(references, data.file_ending, scans=False)
    failed = {case: f"{references} holds no {case}{data.file_ending}" for case in predicted.keys() - expected}
    pairs = [
        Pair(case, path, expected[case], data, tolerance_mm)
        for case, path in predicted.items()
        if case in expected
    ]
    scores = []
    for outcome in run_jobs(
        evaluate_pair, pairs, default_processes() if n_processes is None else n_processes
    ):
        case = outcome.job.case_id
        on_pair(case, outcome.reason, len(pairs))
        if outcome.result is None:
            failed[case] = outcome.reason or "no reason"
        else:
            scores.append(outcome.result)
    if not scores:
        reasons = "\n".join(f"  {case}: {failed[case]}" for case in sorted(failed))
        raise UsageError(f"No prediction of {predictions} could be compared with {references}:\n{reasons}")
    scores.sort(key=lambda one: one.case_id)
    labels, overall = score_labels(scores, foreground_names(data.labels))
    evaluation = Evaluation(
        output,
        tuple(scores),
        labels,
        overall,
        dict(sorted(failed.items())),
        tuple(sorted(expected.keys() - predicted)),
    )
    _write(evaluation, data)
    return evaluation


def run_comparison(
    a: Path, b: Path, *, dataset: Path | None = None, output: Path | None = None
) -> Comparison:
    """Compare two evaluations of the same cases by their `summary.json`, nnU-Net's own included.

    Args:
        a: a summary.json, or the folder that holds it.
        b: the same of the other method.
        dataset: the dataset.json, for the labels' names instead of nnU-Net's keys.
        output: folder for `comparison.json`; None writes none.

    Raises:
        UsageError: a summary is missing, or they are not of the same cases, labels and references.
        DatasetError: the dataset.json cannot be read.
    """
    ours, theirs = read_summary(a), read_summary(b)
    if dataset is not None:
        labels = read_dataset(dataset).labels
        names = {summary_key(labels.covered[c]): labels.names[c] for c in labels.foreground}
        ours, theirs = (
            {case: {names.get(key, key): one for key, one in of_case.items()} for case, of_case in s.items()}
            for s in (ours, theirs)
        )
    comparison = compare_scores(ours, theirs)
    if output is not None:
        write_json({"a": str(a), "b": str(b), **asdict(comparison)}, output / COMPARISON)
    return comparison


def _write(evaluation: Evaluation, dataset: Dataset) -> None:
    names = foreground_names(dataset.labels)
    _write_cases(evaluation.cases, names, evaluation.folder / CASES)
    write_summary(evaluation.cases, dataset.labels, evaluation.folder / SUMMARY)
    content = {
        "labels": [asdict(label) for label in evaluation.labels],
        "mean_over_labels": {name: asdict(one) for name, one in evaluation.overall.items()},
        "cases": [{"case": case.case_id, "labels": _rows(case, names)} for case in evaluation.cases],
        "failed": evaluation.failed,
        "references_without_prediction": evaluation.unpredicted,
    }
    write_json(content, evaluation.folder / EVALUATION)


def _rows(case: PairScores, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row a label; what has no value is None."""
    return [
        {
            "label": name,
            **asdict(one),
            "false_alarm": one.is_false_alarm,
            **{measure: take(case, label) for measure, take in measures_of([case]).items()},
        }
        for label, (name, one) in enumerate(zip(names, case.overlaps, strict=True))
    ]


def _write_cases(cases: Sequence[PairScores], names: Sequence[str], target: Path) -> None:
    rows = [{"case": case.case_id, **row} for case in cases for row in _rows(case, names)]
    with (
        written_whole(target) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
