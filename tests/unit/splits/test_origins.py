"""Subjects by pattern and by table."""

import pytest
from split_cases import CASES

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.subjects import Origin, Subjects
from nnunet_ext.splits.origins import subjects_by_pattern, subjects_by_table


def test_a_pattern_must_match_every_case():
    assert subjects_by_pattern(["ab1", "ab2"], "ab").origins(["ab1"])[0].subject == "ab"
    with pytest.raises(UsageError, match="matches 1 of 2 cases, but not other"):
        subjects_by_pattern(["patient1_x", "other"], r"(patient\d+)")
    with pytest.raises(UsageError, match="no regular expression"):
        subjects_by_pattern(["a"], "(")


def test_a_table_tells_subjects_and_sites_with_either_separator(tmp_path):
    table = tmp_path / "subjects.csv"
    table.write_text("Case;Subject;Site\na;S1;Paris\nb;S1;\n", encoding="utf-8-sig")
    assert subjects_by_table(["b", "a"], table).origins(["b", "a"]) == [
        Origin("b", "S1"),
        Origin("a", "S1", "Paris"),
    ]
    with pytest.raises(UsageError, match="lacks 1 cases: c"):
        subjects_by_table(["a", "c"], table)
    table.write_text("name,subject\n", encoding="utf-8")
    with pytest.raises(UsageError, match="it needs case and subject"):
        subjects_by_table(["a"], table)


def test_without_subjects_each_case_is_its_own():
    assert {o.subject for o in Subjects().origins(CASES)} == set(CASES)
