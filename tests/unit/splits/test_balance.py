import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_ext.splits.balance import Traits, assign_folds


def traits(n_groups: int, seed: int, n_labels: int = 3) -> Traits:
    random = np.random.default_rng(seed)
    volumes = random.exponential(5, (n_groups, n_labels)) * (random.random((n_groups, n_labels)) < 0.4)
    return Traits(random.integers(1, 5, n_groups).astype(float), (volumes > 0).astype(float), volumes)


@settings(max_examples=15)
@given(st.integers(5, 40), st.integers(2, 5), st.integers(0, 99))
def test_no_fold_is_empty_and_every_label_that_can_be_is_in_each(n_groups, n_folds, seed):
    one = traits(n_groups, seed)
    folds = assign_folds(one, n_folds, seed)
    assert set(folds.tolist()) == set(range(n_folds))
    # One label alone can always be in every fold; of several a group may hold more than one.
    for label in range(one.holding.shape[1]):
        alone = Traits(one.n_cases, one.holding[:, [label]], one.volumes[:, [label]])
        if (alone.holding > 0).sum() >= n_folds:
            of_label = assign_folds(alone, n_folds, seed)
            assert set(of_label[alone.holding[:, 0] > 0].tolist()) == set(range(n_folds))


@settings(max_examples=15)
@given(st.integers(10, 40), st.integers(0, 99))
def test_the_same_seed_gives_the_same_folds(n_groups, seed):
    one = traits(n_groups, 1)
    np.testing.assert_array_equal(assign_folds(one, 5, seed), assign_folds(one, 5, seed))


def test_equal_groups_are_spread_exactly_evenly():
    same = Traits(np.full(20, 3.0), np.ones((20, 1)), np.full((20, 1), 7.0))
    assert np.bincount(assign_folds(same, 5, 0)).tolist() == [4] * 5


def test_a_random_split_is_less_even_than_ours():
    one = traits(40, 7)

    def unevenness(folds):
        sums = np.array([one.volumes[folds == fold].sum(axis=0) for fold in range(5)])
        return float((sums.std(axis=0) / sums.mean(axis=0)).mean())

    random = [unevenness(np.random.default_rng(seed).permutation(np.arange(40) % 5)) for seed in range(50)]
    assert unevenness(assign_folds(one, 5, 0)) < min(random)


@pytest.mark.parametrize("n_folds", [2, 5])
def test_a_label_in_as_many_groups_as_folds_is_in_each(n_folds):
    holding = np.zeros((20, 1))
    holding[:n_folds] = 1
    folds = assign_folds(Traits(np.ones(20), holding, holding * np.linspace(1, 50, 20)[:, None]), n_folds, 3)
    assert sorted(folds[:n_folds].tolist()) == list(range(n_folds))
