"""Folds made by subject and by site."""

from collections import Counter

import pytest
from split_cases import CASES, CONTENTS, LABELS, ORIGINS, kinds

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.subjects import Origin
from nnunet_ext.splits.audit import audit
from nnunet_ext.splits.making import k_folds, leave_one_site_out


def test_no_subject_is_on_both_sides_and_the_rare_label_is_in_every_fold(splits):
    judged = audit(splits, ORIGINS, CONTENTS, LABELS)
    assert judged.faults == ()
    assert judged.n_val == (12,) * 5
    assert sorted(judged.holding["lesion"]) == [3, 3, 6, 6, 6]
    for split in splits:
        assert not {c[:9] for c in split["train"]} & {c[:9] for c in split["val"]}
        assert sorted(split["train"] + split["val"]) == CASES


def test_each_case_is_validated_once_a_repeat(splits):
    repeated = k_folds(ORIGINS, CONTENTS, LABELS, n_repeats=2)
    assert repeated[:5] == splits and repeated[5:] != splits
    assert set(Counter(case for split in repeated for case in split["val"]).values()) == {2}
    assert kinds(repeated) == set()


def test_more_folds_than_subjects_are_refused():
    with pytest.raises(UsageError, match="21 folds of 20 subjects"):
        k_folds(ORIGINS, CONTENTS, LABELS, n_folds=21)


def test_each_site_is_left_out_once():
    origins = [Origin(o.case_id, o.subject, "ABC"[int(o.subject[-2:]) % 3]) for o in ORIGINS]
    splits = leave_one_site_out(origins)
    assert [len(split["val"]) for split in splits] == [21, 21, 18]
    with pytest.raises(UsageError, match="have no site"):
        leave_one_site_out(ORIGINS)
    with pytest.raises(UsageError, match="patient00 was scanned at A and B"):
        leave_one_site_out([Origin(CASES[0], "patient00", "A"), Origin(CASES[1], "patient00", "B")])
