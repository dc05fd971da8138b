"""Paired comparison of two methods by Dice, case by case, and of two evaluations by their summary.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import UsageError
from nnunet_ext.files.outputs import check_file, has_keys
from nnunet_ext.files.whole import write_json
from nnunet_ext.metrics.dice import DiceSummary, Overlap, case_mean, summarize
from nnunet_ext.metrics.intervals import Interval, bootstrap_intervals
from nnunet_ext.metrics.summary import read_summary_scores
from nnunet_ext.nnunet.dataset_json import dataset_json_beside, read_dataset
from nnunet_ext.nnunet.subjects import Subjects, Units, find_subjects, units_of
from nnunet_ext.nnunet.summary import summary_key

COMPARISON = "comparison.json"
SAME_DICE = 1e-6  # smaller differences are rounding
SMALLEST_SAMPLE = 6  # of fewer units Wilcoxon's test cannot reach 0.05

ScoredCases = Mapping[str, Mapping[str, Overlap]]  # overlaps by case and label


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Difference in Dice of method B less method A, on the cases that have a Dice under both.

    Attributes:
        units: the subjects of these cases where they are known, else the cases themselves.
        difference: mean over the cases of a label; of the mean of labels, the mean of the labels' means.
        of_units: the mean difference of each unit, in no particular order. For the mean of labels, a case
            counts with the mean over the labels that it holds.
        n_better: cases in which B is better than A.
        n_worse: cases in which B is worse than A.
    """

    units: Units
    difference: Interval
    of_units: tuple[float, ...]
    n_better: int
    n_worse: int

    @property
    def n_cases(self) -> int:
        """The number of cases that have a Dice under both methods."""
        return len(self.units.of_cases)

    def p_value(self) -> float | None:
        """Compute p of Wilcoxon's signed-rank test on the units; None for fewer than 6, or all equal."""
        from scipy.stats import wilcoxon

        differences = np.array(self.of_units)
        if len(differences) < SMALLEST_SAMPLE or not (np.abs(differences) > SAME_DICE).any():
            return None
        return float(wilcoxon(differences, zero_method="pratt").pvalue)


def paired_differences(
    a: ScoredCases, b: ScoredCases, cases: Sequence[str], labels: Sequence[str], subjects: Subjects | None
) -> tuple[dict[str, PairedDifference], PairedDifference]:
    """Compare two methods case by case, for each label and for the mean of labels.

    Args:
        a: the first method.
        b: the second method.
        cases: the cases that both hold.
        labels: names of the labels; a label that a case lacks under one method has no difference there.
        subjects: whose scans the cases are; intervals then resample subjects, and tests are on them.
    """
    differences = np.array([[_difference(a[case], b[case], label) for label in labels] for case in cases])
    differences = differences.reshape(len(cases), len(labels))
    each, overall = bootstrap_intervals(differences, units_of(cases, subjects).of_cases)
    of_cases = np.array([_case_difference(a[case], b[case], labels) for case in cases])
    by_label = {label: _paired(cases, differences[:, k], each[k], subjects) for k, label in enumerate(labels)}
    return by_label, _paired(cases, of_cases, overall, subjects)


def _difference(a: Mapping[str, Overlap], b: Mapping[str, Overlap], label: str) -> float:
    """Return B less A of one label in one case; NaN where one of them has no Dice."""
    first, second = (of_case[label].dice if label in of_case else None for of_case in (a, b))
    return np.nan if first is None or second is None else second - first


def _case_difference(a: Mapping[str, Overlap], b: Mapping[str, Overlap], labels: Sequence[str]) -> float:
    """Return B less A of one case's mean over the labels that have a Dice under both; NaN without any."""
    shared = [label for label in labels if np.isfinite(_difference(a, b, label))]
    first, second = (case_mean({label: of_case[label] for label in shared}) for of_case in (a, b))
    return np.nan if first is None or second is None else second - first


def _paired(
    cases: Sequence[str], differences: NDArray[np.float64], interval: Interval, subjects: Subjects | None
) -> PairedDifference:
    is_known = np.isfinite(differences)
    units = units_of([case for case, known in zip(cases, is_known, strict=True) if known], subjects)
    differences = differences[is_known]
    unit_of = np.unique(units.of_cases, return_inverse=True)[1]
    of_units = np.bincount(unit_of, differences) / np.bincount(unit_of)
    return PairedDifference(
        units=units,
        difference=interval,
        of_units=tuple(of_units.tolist()),
        n_better=int((differences > SAME_DICE).sum()),
        n_worse=int((differences < -SAME_DICE).sum()),
    )


def holm_correction(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number; None stays None and does not count.

    The smallest p is multiplied by the number of tests, the next by one less, and so on, never falling.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected, highest = list(p_values), 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[place] = highest
    return corrected


@dataclass(frozen=True, kw_only=True)
class LabelDifference:
    """Dice of one label under two methods, A and B.

    Attributes:
        n_holding: cases that hold the label in the reference; only they have a Dice.
        mean_a: mean Dice of A over them; None without any.
        mean_b: mean Dice of B over them.
        difference: paired difference, B less A, with its interval.
        n_better: cases in which B is better than A.
        n_worse: cases in which B is worse than A.
        false_alarms_a: cases without the label in which A predicts it.
        false_alarms_b: cases without the label in which B predicts it.
    """

    n_holding: int
    mean_a: float | None
    mean_b: float | None
    difference: Interval
    n_better: int
    n_worse: int
    false_alarms_a: int
    false_alarms_b: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two methods, A and B, compared on the cases that both predicted.

    Attributes:
        n_cases: number of these cases.
        labels: the differences by the label's key.
        overall: paired difference of the mean of labels, B less A.
        left_out: cases that only one of the two holds.
        resampled: what the intervals resample, in words.
    """

    n_cases: int
    labels: Mapping[str, LabelDifference]
    overall: Interval
    left_out: tuple[str, ...]
    resampled: str


def compare_scores(a: ScoredCases, b: ScoredCases, subjects: Subjects | None = None) -> Comparison:
    """Compare two methods by Dice on the cases that both predicted.

    Args:
        a: the first method.
        b: the second method; compared with the same references.
        subjects: whose scans the cases are; intervals then resample subjects.

    Raises:
        UsageError: no case is in both, they have different labels, or their references differ.
    """
    cases = sorted(a.keys() & b.keys())
    if not cases:
        raise UsageError(f"No case is in both: A holds {sorted(a)[:3]} …, B {sorted(b)[:3]} ….")
    keys = list(a[cases[0]])
    for case in cases:
        if a[case].keys() != b[case].keys():
            raise UsageError(f"{case}: A has the labels {list(a[case])}, B {list(b[case])}.")
        differing = [k for k in keys if a[case][k].n_reference != b[case][k].n_reference]
        if differing:
            raise UsageError(f"{case}: A and B were compared with other references of {differing}.")
    by_label, overall = paired_differences(a, b, cases, keys, subjects)
    of_a, of_b = (summarize({key: s[case][key] for key in keys} for case in cases) for s in (a, b))
    return Comparison(
        n_cases=len(cases),
        labels={key: _label_difference(by_label[key], of_a[key], of_b[key]) for key in keys},
        overall=overall.difference,
        left_out=tuple(sorted(a.keys() ^ b.keys())),
        resampled=units_of(cases, subjects).words,
    )


def _label_difference(paired: PairedDifference, a: DiceSummary, b: DiceSummary) -> LabelDifference:
    return LabelDifference(
        n_holding=paired.n_cases,
        mean_a=a.mean,
        mean_b=b.mean,
        difference=paired.difference,
        n_better=paired.n_better,
        n_worse=paired.n_worse,
        false_alarms_a=a.n_false_alarms,
        false_alarms_b=b.n_false_alarms,
    )


def run_comparison(
    a: Path,
    b: Path,
    *,
    dataset: Path | None = None,
    output: Path | None = None,
    overwrite: bool = False,
) -> Comparison:
    """Compare two evaluations of the same cases by their `summary.json`, nnU-Net's own included.

    Args:
        a: a summary.json, or the folder that holds it.
        b: the summary.json, or its folder, of the other method.
        dataset: the dataset.json, for the labels' names instead of nnU-Net's keys; None takes the one
            beside a summary or of its model, if there is one.
        output: folder for `comparison.json`; None writes no file.
        overwrite: replace a file of that name that is no comparison.

    Raises:
        UsageError: a summary is missing, or they are not of the same cases, labels and references.
        DatasetError: the dataset.json cannot be read.
    """
    if output is not None:
        check_file(output / COMPARISON, has_keys("a", "b", "labels"), "a comparison", overwrite=overwrite)
    summaries = read_summary_scores(a), read_summary_scores(b)
    subjects = find_subjects((dataset, a, b, *(one.references for one in summaries)))
    dataset = dataset or dataset_json_beside(path if path.is_dir() else path.parent for path in (a, b))
    names: dict[str, str] = {}
    if dataset is not None:
        labels = read_dataset(dataset).labels
        names = {summary_key(labels.covered[c]): labels.names[c] for c in labels.foreground}
    comparison = compare_scores(summaries[0].renamed(names), summaries[1].renamed(names), subjects)
    if output is not None:
        write_json({"a": str(a), "b": str(b), **asdict(comparison)}, output / COMPARISON)
    return comparison
