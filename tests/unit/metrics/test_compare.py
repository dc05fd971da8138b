import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.metrics.compare import compare_scores
from nnunet_ext.metrics.dice import Overlap

GOOD, POOR, ALARM, ABSENT = Overlap(10, 10, 9), Overlap(10, 10, 7), Overlap(0, 4, 0), Overlap(0, 0, 0)


def test_the_difference_is_paired():
    a = {"x": {"1": POOR}, "y": {"1": GOOD}}
    b = {"x": {"1": GOOD}, "y": {"1": GOOD}}
    found = compare_scores(a, b).labels["1"]
    assert (found.mean_a, found.mean_b) == pytest.approx((0.8, 0.9))
    assert found.difference.mean == pytest.approx(0.1)
    assert (found.difference.low, found.difference.high) == pytest.approx((0, 0.2))
    assert (found.n_better, found.n_worse) == (1, 0)


def test_cases_without_the_label_have_no_difference_and_tell_false_alarms():
    found = compare_scores({"x": {"1": GOOD}, "y": {"1": ALARM}}, {"x": {"1": GOOD}, "y": {"1": ABSENT}})
    one = found.labels["1"]
    assert (one.n_holding, one.difference.mean) == (1, 0)
    assert (one.false_alarms_a, one.false_alarms_b) == (1, 0)


def test_a_label_that_no_case_holds_has_no_means():
    found = compare_scores({"x": {"1": ALARM}}, {"x": {"1": ABSENT}})
    assert found.labels["1"].mean_a is None
    assert found.overall.mean is None


def test_cases_of_one_side_only_are_named():
    assert compare_scores({"x": {"1": GOOD}, "y": {"1": GOOD}}, {"x": {"1": GOOD}}).left_out == ("y",)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        ({"z": {"1": GOOD}}, "No case is in both"),
        ({"x": {"2": GOOD}}, "labels"),
        ({"x": {"1": Overlap(11, 10, 9)}}, "other references"),
    ],
)
def test_what_cannot_be_compared_is_refused(b, message):
    with pytest.raises(UsageError, match=message):
        compare_scores({"x": {"1": GOOD}}, b)
