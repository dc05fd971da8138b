import numpy as np
import pytest

from nnunet_ext.metrics.objective import Objective, standard_error

# Two labels of three cases: in the reference, in the prediction, in both.
COUNTS = np.array([[[10, 10, 9], [4, 4, 2]], [[10, 10, 7], [0, 3, 0]], [[20, 20, 20], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("absent", "rare"),
    [("nnunet", (0.5 + 0) / 2), ("one", (0.5 + 0 + 1) / 3), ("zero", 0.5 / 3), ("left_out", 0.5)],
)
def test_absent_labels_count_as_the_challenge_says(absent, rare):
    objective = Objective(absent=absent)
    common = (0.9 + 0.7 + 1) / 3
    assert objective.by_label(COUNTS) == pytest.approx([common, rare])
    assert objective.score(COUNTS) == pytest.approx((common + rare) / 2)


def test_pooled_voxels_are_taken_as_one_case():
    assert Objective(over="pooled").by_label(COUNTS) == pytest.approx([72 / 80, 4 / 11])


def test_the_worst_label_is_the_lowest():
    assert Objective(over="worst").score(COUNTS) == pytest.approx(0.25)


def test_a_label_that_counts_nowhere_is_left_out_of_the_mean():
    assert Objective().score(COUNTS[2:]) == 1
    assert np.isnan(Objective().score(COUNTS[2:, 1:]))


def test_the_standard_error_of_a_mean_is_that_of_the_textbook():
    values = np.random.default_rng(0).integers(0, 11, 12)
    counts = np.stack([np.full(12, 10), np.full(12, 10), values], axis=-1)[:, None]
    expected = (values / 10).std(ddof=1) / np.sqrt(12)
    assert standard_error(Objective().without_each(counts)) == pytest.approx(expected)


def test_the_error_of_a_difference_is_taken_case_by_case():
    values = np.random.default_rng(1).integers(2, 9, 10)
    one, other = (
        np.stack([np.full(10, 10), np.full(10, 10), v], axis=-1)[:, None] for v in (values, values + 1)
    )
    objective = Objective()
    assert standard_error(objective.without_each(one) - objective.without_each(other)) == pytest.approx(0)
    assert standard_error(objective.without_each(one)) > 0.01


def test_the_error_over_subjects_takes_all_cases_of_one_as_one_observation():
    values = np.random.default_rng(2).integers(2, 9, 10)
    once = np.stack([np.full(10, 10), np.full(10, 10), values], axis=-1)[:, None]
    twice, subjects = np.repeat(once, 2, axis=0), [f"s{i // 2}" for i in range(20)]
    errors = (Objective().without_each(once), Objective().without_each(twice, subjects))
    assert standard_error(errors[1]) == pytest.approx(standard_error(errors[0]))
    assert standard_error(Objective().without_each(twice)) < 0.75 * standard_error(errors[0])


def test_one_case_tells_no_error():
    assert standard_error(np.array([0.5])) == 0
