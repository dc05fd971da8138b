"""What has changed between two starts of a training."""

import pytest

from nnunet_ext.trainers.policies.continuation import (
    FoldCases,
    changes_of_plan,
    changes_of_split,
    sha256_of_content,
)

BEFORE = FoldCases(("a", "b", "c"), ("d",))


def test_a_split_survives_its_record_and_its_hash_knows_no_order():
    assert FoldCases.from_record(BEFORE.record()) == BEFORE
    assert (
        FoldCases(("c", "a", "b"), ("d",)).sha256 == BEFORE.sha256 != FoldCases(("a", "b"), ("c", "d")).sha256
    )
    assert BEFORE.record()["sha256"] == BEFORE.sha256


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (FoldCases(("b", "c", "a"), ("d",)), []),
        (
            FoldCases(("a", "b", "d"), ("c",)),
            [
                "1 cases are validated on now, but were trained on before (c)",
                "1 cases are trained on now, but were validated on before (d)",
            ],
        ),
        (FoldCases(("a", "b", "c", "e"), ("d",)), ["1 cases are new (e)"]),
        (FoldCases(("a",), ("d",)), ["2 cases are gone (b, c)"]),
    ],
)
def test_cases_that_changed_sides_are_named(now, said):
    assert changes_of_split(BEFORE, now) == said


def test_only_a_few_of_many_cases_are_named():
    (said,) = changes_of_split(BEFORE, FoldCases((*BEFORE.train, *map(str, range(9))), ("d",)))
    assert said == "9 cases are new (0, 1, 2, 3, 4 and 4 more)"


def plan(**changes):
    kwargs = {"n_stages": changes.pop("n_stages", 3)}
    network = {"network_class_name": changes.pop("network", "Plain"), "arch_kwargs": kwargs}
    return {"batch_size": 2, "architecture": network, **changes}


def test_what_makes_another_network_is_told_from_what_does_not():
    assert changes_of_plan(plan(), plan()) == ([], [])
    assert changes_of_plan(plan(), plan(n_stages=4)) == (["n_stages was 3, now 4"], [])
    assert changes_of_plan(plan(), plan(network="Nested"))[0] == ["the network was Plain, now Nested"]
    assert changes_of_plan(plan(), plan(batch_size=4)) == ([], ["batch_size was 2, now 4"])


def test_a_hash_of_values_knows_no_order_of_keys():
    assert sha256_of_content({"a": 1, "b": [2]}) == sha256_of_content({"b": [2], "a": 1})
