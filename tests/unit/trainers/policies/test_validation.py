"""By whose Dice a training is judged, and which labels keep a best of their own."""

from __future__ import annotations

import math

import factories
import pytest

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.policies.early_stopping import is_new_best
from nnunet_ext.trainers.policies.validation import (
    best_files,
    check_monitor,
    is_validated,
    label_history,
    labels_with_bests,
    monitored_history,
    n_validated,
)

LABELS = factories.labels()  # myocardium, left_ventricle, right_ventricle
NAN = math.nan


def validated(val_every, n_epochs):
    return [epoch for epoch in range(n_epochs) if is_validated(epoch, val_every, n_epochs)]


def test_the_last_of_every_few_epochs_and_the_last_of_all_are_validated():
    assert validated(1, 3) == [0, 1, 2]
    assert validated(3, 10) == [2, 5, 8, 9]
    assert validated(3, 9) == [2, 5, 8]
    assert validated(20, 9) == [8]
    assert [n_validated(done, 3, 10) for done in range(11)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4]


def test_a_label_is_judged_by_its_own_average_by_name_or_value():
    dices = [[0.1, 0.5, 0.9], [0.1, 0.7, 0.9]]
    expected = pytest.approx([0.05, 0.9 * 0.05 + 0.1 * 0.7])
    assert monitored_history("left_ventricle", LABELS, dices) == expected
    assert monitored_history("2", LABELS, dices) == expected


def test_an_epoch_in_which_the_worst_label_is_not_seen_is_no_rise():
    dices = [[0.9, 0.8, 0.2], [0.9, 0.8, NAN], [0.9, 0.8, 0.2]]
    assert monitored_history("worst", LABELS, dices) == pytest.approx([0.02, 0.02, 0.038])


def test_the_worst_is_the_lowest_average_not_the_average_of_the_lowest():
    dices = [[0.5, 0.6, 0.7], [0.9, 0.1, 0.7]]
    assert monitored_history("worst", LABELS, dices) == pytest.approx([0.05, 0.064])


def test_without_any_finite_dice_there_is_no_history():
    assert all(map(math.isnan, monitored_history("worst", LABELS, [[NAN] * 3] * 2)))
    assert monitored_history("worst", LABELS, []) == []
    assert all(map(math.isnan, label_history(0, [[NAN] * 3] * 2)))


@pytest.mark.parametrize("monitor", ["mean", "worst", "right_ventricle", "3"])
def test_the_right_monitors_are_taken(monitor):
    check_monitor(monitor, LABELS)


@pytest.mark.parametrize("monitor", ["rv", "background", "0", "4", "-1"])
def test_a_wrong_monitor_is_refused_with_the_right_ones(monitor):
    with pytest.raises(SettingsError) as refused:
        check_monitor(monitor, LABELS)
    assert str(refused.value) == (
        f"monitor is {monitor!r}; allowed are mean, worst and the labels of this data set: myocardium (1), "
        f"left_ventricle (2), right_ventricle (3). {monitor!r} is none of them."
    )


def test_regions_are_judged_by_their_names():
    dices = [[0.9, 0.5, 0.1]]
    assert monitored_history("core", factories.region_labels(), dices) == pytest.approx([0.05])


@pytest.mark.parametrize(
    ("history", "best"),
    [
        ([0.3], True),
        ([0.3, 0.3], False),
        ([0.3, 0.4], True),
        ([NAN, 0.4], True),
        ([0.5, 0.4], False),
        ([0.5, NAN], False),
        ([NAN], False),
        ([], False),
    ],
)
def test_a_new_best_exceeds_all_before_it(history, best):
    assert is_new_best(history) is best


def test_what_is_hardly_found_is_no_best():
    assert not is_new_best([0.0, 0.009], least=0.01)
    assert is_new_best([0.0, 0.009, 0.02], least=0.01)


HOLDERS = {"myocardium": ("a", "b", "c", "d"), "left_ventricle": ("a", "b"), "right_ventricle": ("d",)}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("rare", ["right_ventricle"]),
        ("none", []),
        ("all", ["myocardium", "left_ventricle", "right_ventricle"]),
        ("right_ventricle, 1", ["myocardium", "right_ventricle"]),
    ],
)
def test_labels_with_a_best_of_their_own(asked, expected):
    assert labels_with_bests(asked, LABELS, HOLDERS, 4) == expected


def test_a_label_of_no_training_case_and_the_only_label_are_not_rare():
    assert labels_with_bests("rare", LABELS, {"left_ventricle": ()}, 4) == []
    one = factories.labels({"background": 0, "organ": 1})
    assert labels_with_bests("rare", one, {"organ": ("a",)}, 4) == []


def test_a_wrong_label_is_refused_with_the_right_ones():
    with pytest.raises(
        SettingsError, match=r"rare, all, none and the labels .*: myocardium \(1\), .*'rv' is"
    ):
        labels_with_bests("myocardium,rv", LABELS, HOLDERS, 4)


def test_files_of_labels_have_names_that_every_disk_takes_and_tells_apart():
    assert best_files(["RV", "rv", "left/right: lung", "rv_2", "Ösophagus"]) == {
        "RV": "checkpoint_best_RV.pth",
        "rv": "checkpoint_best_rv_2.pth",
        "left/right: lung": "checkpoint_best_left_right_lung.pth",
        "rv_2": "checkpoint_best_rv_2_2.pth",
        "Ösophagus": "checkpoint_best_Ösophagus.pth",
    }
