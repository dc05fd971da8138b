import math

import pytest

from nnunet_ext.splits.audit import Audit
from nnunet_ext.splits.pictures import count_cells, draw_audit, volume_cells

LABELS = {"liver": (4, 4), "tumour_$1": (3, 0)}
VOLUMES = {"liver": (1500.0, 1400.0), "tumour_$1": (3.0, 0.0)}


def an_audit(n_folds: int = 2) -> Audit:
    return Audit(
        faults=(),
        n_train=(4,) * n_folds,
        n_val=(4,) * n_folds,
        holding={name: (counts * n_folds)[:n_folds] for name, counts in LABELS.items()},
        volumes_ml={name: (volumes * n_folds)[:n_folds] for name, volumes in VOLUMES.items()},
    )


def test_a_count_stands_against_the_mean_over_folds():
    found = count_cells((2, 4, 6))
    assert [cell.text for cell in found] == ["2", "4", "6"]
    assert [cell.deviation for cell in found] == pytest.approx([-0.5, 0, 0.5])
    assert [cell.deviation_text for cell in found] == ["-50%", "", "+50%"]


def test_a_label_that_no_case_or_few_cases_hold_is_a_warning():
    assert [(cell.text, cell.warning) for cell in count_cells((0, 1, 2))] == [
        ("absent", "absent"),
        ("1", "few"),
        ("2", ""),
    ]
    assert not any(cell.warning for cell in count_cells((1, 1), warns=False))


def test_a_volume_stands_against_the_folds_that_hold_the_label():
    found = volume_cells((2, 0, 3), (90.0, 0.0, 1110.0))
    assert [cell.text for cell in found] == ["90", "absent", "1110"]
    assert [cell.deviation for cell in found][::2] == pytest.approx([-0.85, 0.85])
    assert math.isnan(found[1].deviation) and found[1].warning == "absent"


def test_a_label_that_no_fold_holds_is_absent_everywhere():
    assert {cell.text for cell in (*count_cells((0, 0)), *volume_cells((0, 0), (0.0, 0.0)))} == {"absent"}


@pytest.mark.parametrize(("name", "begin"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
def test_the_ending_chooses_the_format(tmp_path, name, begin):
    draw_audit(an_audit(), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begin)


def test_the_picture_names_volumes_and_warnings(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("matplotlib").rcParams, "svg.fonttype", "none")
    draw_audit(an_audit(), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for said in (
        "Validation cases that hold the label",
        "Mean volume",
        "1500",
        "absent !",
        "mean over folds",
    ):
        assert said in text, said


def test_many_folds_are_drawn_below_each_other(tmp_path):
    from matplotlib.image import imread

    draw_audit(an_audit(2), tmp_path / "few.png")
    draw_audit(an_audit(12), tmp_path / "many.png")
    few, many = imread(tmp_path / "few.png"), imread(tmp_path / "many.png")
    assert many.shape[0] > few.shape[0] and many.shape[1] < 6 * few.shape[1]
