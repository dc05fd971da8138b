"""What a tuning says of its folds."""

from types import SimpleNamespace

from nnunet_ext.nnunet.subjects import Units
from nnunet_ext.tuning.result import split_subjects


def tuning(units, folds):
    return SimpleNamespace(units=units, validation=SimpleNamespace(folds=folds))


def test_subjects_whose_cases_are_in_several_folds_are_named():
    folds = ("fold 0", "fold 1", "fold 1", "fold 1")
    assert split_subjects(tuning(Units(("p1", "p1", "p2", "p2"), True), folds)) == ["p1"]
    assert split_subjects(tuning(Units(("a", "b", "c", "d")), folds)) == []
