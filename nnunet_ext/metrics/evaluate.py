"""Evaluate a folder of predictions against their references."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_ext.errors import SegmentationError, UsageError, joined_faults
from nnunet_ext.files.escaping import csv_cell
from nnunet_ext.files.outputs import check_file, has_keys, make_folder
from nnunet_ext.files.whole import write_json, written_whole
from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.metrics.case_scores import CaseScores, EvaluationJob, evaluate_case, values_of
from nnunet_ext.metrics.intervals import Interval
from nnunet_ext.metrics.label_scores import LabelScores, measures_of, score_labels
from nnunet_ext.metrics.overlap import foreground_names
from nnunet_ext.metrics.summary import write_summary
from nnunet_ext.nnunet.dataset_json import (
    BACKGROUND,
    Dataset,
    check_same_labels,
    keep_dataset_json,
    labels_of_values,
    read_dataset,
)
from nnunet_ext.nnunet.image_files import find_ending, find_images
from nnunet_ext.nnunet.subjects import find_subjects, units_of
from nnunet_ext.nnunet.summary import SUMMARY

CASES = "cases.csv"
EVALUATION = "evaluation.json"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        folder: folder of `cases.csv`, `evaluation.json` and nnU-Net's `summary.json`.
        cases: scores of each case, sorted by name.
        labels: measures of each label over all cases.
        overall: the mean of labels of each measure.
        failed: why a case was not compared, by case.
        unpredicted: references without a prediction.
        resampled: what the intervals resample, in words.
        missed_hd95_mm: HD95 of a label that only one of the two holds; None where such cases do not count.
        write_fault: why some of the files were not written.
    """

    folder: Path
    cases: tuple[CaseScores, ...]
    labels: tuple[LabelScores, ...]
    overall: dict[str, Interval]
    failed: dict[str, str]
    unpredicted: tuple[str, ...]
    resampled: str
    missed_hd95_mm: float | None = None
    write_fault: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every prediction was compared, and the files were written."""
        return not self.failed and self.write_fault is None


def run_evaluation(
    predictions: Path,
    references: Path,
    output: Path,
    *,
    dataset: Path | None = None,
    labels: Sequence[int] = (),
    tolerance_mm: float | None = None,
    missed_hd95_mm: float | None = None,
    overwrite: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
) -> Evaluation:
    """Compare every prediction of a folder with its reference of the same name.

    Args:
        predictions: folder of one segmentation per case.
        references: folder of the references; those without a prediction are named and do not count.
        output: folder for `cases.csv`, `evaluation.json` and `summary.json`.
        dataset: the dataset.json; without it labels are called by their values.
        labels: without a dataset.json, the values to compare, which may have gaps; all other values are
            background. None means all values that the files hold.
        tolerance_mm: tolerance of the surface Dice; None compares no surfaces.
        missed_hd95_mm: HD95 of a label that only one of the two holds; None leaves such cases out.
        overwrite: replace files in `output` that no evaluation of ours wrote, and a dataset.json of other
            labels.
        execution: worker processes or a cluster, and who is told of each case; no shard.

    Returns:
        The scores; a case that failed is in them with its reason, and the others are compared.

    Raises:
        DatasetError, UsageError: before the first case is read, or where no case has a reference.
        SegmentationError: none of the cases could be compared.
    """
    execution.check_no_shard("evaluate")
    data = read_dataset(dataset) if dataset else Dataset(labels_of_values(labels), find_ending(predictions))
    subjects = find_subjects((dataset, references, predictions))
    predicted = find_images(predictions, data.file_ending, scans=False)
    expected = find_images(references, data.file_ending, scans=False)
    _check_output(output, overwrite=overwrite)
    if dataset:
        check_same_labels(dataset, output, overwrite=overwrite)
    failed = {case: f"{references} holds no {case}{data.file_ending}" for case in predicted.keys() - expected}
    both = {case: (path, expected[case]) for case, path in predicted.items() if case in expected}
    if dataset is None and not labels:
        values, unread = _all_values(both, execution)
        failed |= unread
        both = {case: two for case, two in both.items() if case not in unread}
        data = replace(data, labels=labels_of_values(values))
    scores, unscored = _compare_all(both, data, execution, tolerance_mm, by_value=dataset is None)
    failed |= unscored
    if not scores:
        raise (SegmentationError if both else UsageError)(
            joined_faults(
                f"No prediction of {predictions} could be compared with {references}:",
                (f"{case}: {failed[case]}" for case in sorted(failed)),
            )
        )
    units = units_of([one.case_id for one in scores], subjects)
    each, overall = score_labels(scores, foreground_names(data.labels), units.of_cases, missed_hd95_mm)
    evaluation = Evaluation(
        folder=output,
        cases=tuple(scores),
        labels=each,
        overall=overall,
        failed=dict(sorted(failed.items())),
        unpredicted=tuple(sorted(expected.keys() - predicted)),
        resampled=units.words,
        missed_hd95_mm=missed_hd95_mm,
    )
    try:
        if dataset:
            keep_dataset_json(dataset, output, overwrite=overwrite)
        _write(evaluation, data)
    except OSError as error:
        fault = f"{error.filename or output} was not written: {error.strerror or error}"
        return replace(evaluation, write_fault=fault)
    return evaluation


def _compare_all(
    files: Mapping[str, tuple[Path, Path]],
    data: Dataset,
    execution: Execution,
    tolerance_mm: float | None,
    *,
    by_value: bool,
) -> tuple[list[CaseScores], dict[str, str]]:
    """Compare all cases; return their scores, sorted, and why other cases could not be compared.

    Args:
        files: prediction and reference of each case.
        data: labels and ignored value.
        execution: worker processes or a cluster, and who is told of each case.
        tolerance_mm: tolerance of the surface Dice; None compares no surfaces.
        by_value: whether the labels are values of the files, which are numbered for the comparison.
    """
    values, compared = None, data
    if by_value:
        values = data.labels.values[1:]
        compared = replace(data, labels=labels_of_values(range(1, len(values) + 1)))
    jobs = [
        EvaluationJob(
            case_id=case,
            prediction=prediction,
            reference=reference,
            dataset=compared,
            tolerance_mm=tolerance_mm,
            values=values,
        )
        for case, (prediction, reference) in files.items()
    ]
    outcomes = list(execution.run_cases(evaluate_case, jobs))
    scores = [outcome.result for outcome in outcomes if outcome.result is not None]
    failed = {
        outcome.job.case_id: outcome.reason or "no reason" for outcome in outcomes if outcome.result is None
    }
    return sorted(scores, key=lambda one: one.case_id), failed


def _all_values(
    files: Mapping[str, tuple[Path, Path]], execution: Execution
) -> tuple[set[int], dict[str, str]]:
    """Collect the values of all files, and the reason why the values of a case are not known."""
    cases = {path: case for case, two in files.items() for path in two}
    found: set[int] = set()
    unread: dict[str, str] = {}
    for outcome in execution.run(values_of, list(cases)):
        if outcome.result is None:
            unread[cases[outcome.job]] = outcome.reason or "no reason"
        else:
            found.update(outcome.result)
    found -= {BACKGROUND}
    if not found:
        raise UsageError(
            joined_faults(
                "None of the files holds a label: all voxels are 0, or no file can be read.",
                (f"{case}: {unread[case]}" for case in sorted(unread)),
            )
        )
    return found, unread


def _check_output(output: Path, *, overwrite: bool) -> None:
    """Make the folder, and refuse to replace nnU-Net's summary.json, or a cases.csv of something else."""
    make_folder(output)
    ours = has_keys("labels", "mean_over_labels", "cases")
    check_file(output / EVALUATION, ours, "an evaluation", overwrite=overwrite)
    if overwrite or (output / EVALUATION).exists():
        return
    for name in (SUMMARY, CASES):
        if (output / name).exists():
            perhaps = " but perhaps by nnU-Net" if name == SUMMARY else ""
            raise UsageError(
                f"{output / name} exists, and was not written by an evaluation of nnunet_ext{perhaps}. "
                "Choose another folder with -o, or replace it with --overwrite."
            )


def _write(evaluation: Evaluation, dataset: Dataset) -> None:
    names = foreground_names(dataset.labels)
    content = {
        "labels": [asdict(label) for label in evaluation.labels],
        "mean_over_labels": {name: asdict(one) for name, one in evaluation.overall.items()},
        "cases": [
            {"case": case.case_id, "labels": _rows(case, names, evaluation)} for case in evaluation.cases
        ],
        "missed_hd95_mm": evaluation.missed_hd95_mm,
        "failed": evaluation.failed,
        "references_without_prediction": evaluation.unpredicted,
        "intervals_resample": evaluation.resampled,
    }
    write_json(
        content, evaluation.folder / EVALUATION
    )  # first: after a kill it shows that the others are ours
    _write_cases(evaluation, names, evaluation.folder / CASES)
    write_summary(evaluation.cases, dataset.labels, evaluation.folder / SUMMARY)


def _rows(case: CaseScores, names: Sequence[str], evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row per label; a measure without a value is None."""
    measures = measures_of([case], evaluation.missed_hd95_mm)
    return [
        {
            "label": name,
            **asdict(one),
            "missed": one.n_reference > 0 and one.n_predicted == 0,
            "false_alarm": one.is_false_alarm,
            **{measure: take(case, label) for measure, take in measures.items()},
        }
        for label, (name, one) in enumerate(zip(names, case.overlaps, strict=True))
    ]


def _write_cases(evaluation: Evaluation, names: Sequence[str], target: Path) -> None:
    rows = [
        {name: csv_cell(value) for name, value in {"case": case.case_id, **row}.items()}
        for case in evaluation.cases
        for row in _rows(case, names, evaluation)
    ]
    with (
        written_whole(target) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
