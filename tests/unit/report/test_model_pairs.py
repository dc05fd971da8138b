import numpy as np
import pytest
from scipy.stats import wilcoxon

from nnunet_ext.metrics.compare import compare_scores
from nnunet_ext.metrics.dice import MEAN_OF_LABELS, Overlap
from nnunet_ext.nnunet.subjects import Origin, Subjects
from nnunet_ext.report.model_dice import ModelDice
from nnunet_ext.report.model_pairs import compare_models


def scores(name: str, common: list[int]) -> ModelDice:
    """A model with cases of so many common voxels in hundred, in both labels; None is a case it lacks."""
    cases = {f"case_{i}": n for i, n in enumerate(common) if n is not None}
    return ModelDice(
        name=name,
        cases={case: {"x": Overlap(100, 100, n), "y": Overlap(100, 100, n)} for case, n in cases.items()},
    )


WORSE, BETTER = [50, 55, 60, 70, 72, 80, 90], [54, 58, 65, 69, 80, 86, 97]


def test_differences_are_of_the_common_cases():
    base, other = scores("base", [50, None, 60]), scores("other", [60, 90, 50])
    pair = compare_models([base, other], base, ["x"])[0]
    assert (pair.name, pair.baseline, pair.n) == ("other", "base", 2)
    assert pair.difference == pytest.approx(0.0) and (pair.paired.n_better, pair.paired.n_worse) == (1, 1)
    assert pair.p is None and not pair.is_beyond_chance


def test_every_label_and_the_mean_are_compared():
    base = scores("base", WORSE)
    pairs = compare_models([base, scores("other", BETTER)], base, ["x", "y"])
    assert [pair.label for pair in pairs] == ["x", "y", MEAN_OF_LABELS]
    differences = (np.array(BETTER) - np.array(WORSE)) / 100
    assert pairs[0].difference == pytest.approx(differences.mean())
    low, high = pairs[0].interval
    assert differences.min() < low < differences.mean() < high < differences.max()


def test_p_is_that_of_wilcoxon_times_the_number_of_tests():
    base, other = scores("base", WORSE), scores("other", BETTER)
    differences = (np.array(BETTER) - np.array(WORSE)) / 100
    p = wilcoxon(differences).pvalue
    assert compare_models([other], base, ["x"])[0].p == pytest.approx(p)
    assert compare_models([other], base, ["x", "y"])[0].p == pytest.approx(3 * p)


def test_the_test_is_on_the_means_of_subjects_and_the_interval_resamples_them():
    base, other = scores("base", WORSE * 2), scores("other", BETTER * 2)
    subjects = Subjects({f"case_{i}": Origin(f"case_{i}", f"s{i % 7}") for i in range(14)})
    apart, together = (compare_models([other], base, ["x"], known)[0] for known in (None, subjects))
    once = compare_models([scores("other", BETTER)], scores("base", WORSE), ["x"])[0]
    assert (together.n, together.units.n, together.difference) == (14, 7, once.difference)
    assert together.p == pytest.approx(once.p) and apart.p < 0.5 * together.p
    assert together.interval == pytest.approx(once.interval, abs=0.005)
    few = Subjects({f"case_{i}": Origin(f"case_{i}", f"s{i % 5}") for i in range(14)})
    assert compare_models([other], base, ["x"], few)[0].p is None


def test_holms_p_never_falls_and_is_at_most_1():
    base = scores("base", WORSE)
    others = [
        scores("same", [*WORSE[:-1], 91]),
        scores("other", BETTER),
        scores("third", [50, 60, 55, 75, 70, 81, 88]),
    ]
    by_name = {pair.name: pair.p for pair in compare_models(others, base, ["x"])}
    assert by_name["other"] < by_name["third"] <= by_name["same"] <= 1


def test_equal_models_and_models_without_common_cases_have_no_p():
    base = scores("base", WORSE)
    assert compare_models([scores("same", WORSE)], base, ["x"])[0].p is None
    assert compare_models([scores("none", [])], base, ["x"]) == []


def test_the_mean_of_labels_is_that_of_a_comparison_of_evaluations():
    """Liver in ten cases and a tumour in two of them: each label counts alike, not each case."""

    def with_tumour(name: str, common: int) -> ModelDice:
        liver, none = Overlap(100, 100, 80), Overlap(0, 0, 0)
        tumours = [Overlap(100, 100, common)] * 2 + [none] * 8
        return ModelDice(
            name=name, cases={f"case_{i}": {"liver": liver, "tumour": one} for i, one in enumerate(tumours)}
        )

    base, other = with_tumour("base", 20), with_tumour("other", 60)
    mean = compare_models([other], base, ["liver", "tumour"])[-1]
    theirs = compare_scores(base.cases, other.cases)
    assert mean.label == MEAN_OF_LABELS and mean.difference == pytest.approx(0.2) == theirs.overall.mean
    assert mean.interval == pytest.approx((theirs.overall.low, theirs.overall.high))
    assert (mean.paired.n_better, mean.paired.n_worse) == (2, 0)
    assert other.mean - base.mean == pytest.approx(0.2)
