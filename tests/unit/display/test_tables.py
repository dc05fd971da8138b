import io
import os
import re

import pytest

from nnunet_ext.display.tables import Table, as_text, dice_table, print_table
from nnunet_ext.metrics.dice import DiceSummary

ROWS = {
    "2d": {"liver": DiceSummary(0.9, 4, 4, 0), "right_lobe": DiceSummary(None, 4, 0, 2)},
    "ensemble": {"liver": DiceSummary(0.95, 4, 4, 0), "right_lobe": DiceSummary(None, 4, 0, 0)},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_absent_label_is_a_dash_and_false_alarms_are_counted():
    table = dice_table(ROWS, "Dice")
    assert table.header == ("", "liver (in 4 of 4)", "right lobe (in 0 of 4)", "mean of labels")
    assert table.rows == (
        ("2d", "0.900", "- (+2 false alarms)", "0.900"),
        ("ensemble", "0.950", "-", "0.950"),
    )


def test_one_false_alarm_is_singular():
    assert "(+1 false alarm)" in as_text(dice_table({"2d": {"liver": DiceSummary(0.5, 2, 1, 1)}}))


def test_numbers_have_as_many_digits_as_asked_for():
    (row,) = dice_table({"2d": {"liver": DiceSummary(0.12345, 2, 1, 1)}}, n_digits=4).rows
    assert row == ("2d", "0.1235 (+1 false alarm)", "0.1235")


def test_plain_text_is_aligned():
    text = as_text(Table(("", "liver"), (("2d", "0.9"), ("ensemble", "0.95")), "Dice"))
    assert text.splitlines() == ["Dice", "          liver", "2d          0.9", "ensemble   0.95"]


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_terminal_and_a_file_show_every_cell(kind, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    file = kind()
    print_table(dice_table(ROWS, "Dice"), file)
    assert all(cell in file.getvalue() for row in dice_table(ROWS).rows for cell in row)


def test_names_stand_to_the_left_and_numbers_to_the_right():
    table = Table(
        ("trainer", "state", "fold", "epochs"), (("a", "died", "0", "9 of 10"), ("b", "", "all", "-"))
    )
    lines = as_text(table).splitlines()
    assert lines == [
        "trainer  state  fold   epochs",
        "a        died   0     9 of 10",
        "b               all         -",
    ]


def drawn(table, monkeypatch, width, encoding=None):
    monkeypatch.setenv("COLUMNS", str(width))
    file = Terminal()
    monkeypatch.setattr(Terminal, "encoding", encoding)
    print_table(table, file)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


WIDE = Table(
    ("trainer", "right_ventricle", "left_ventricle"),
    (("nnUNetTrainerExt_ep2_it2_val1_adam_lr1em3", "0.123 +- 0.001", "0.9 (1, 2 false)"),),
)


def test_on_a_narrow_terminal_names_are_broken_and_numbers_are_not(monkeypatch):
    lines = drawn(WIDE, monkeypatch, 60)
    first, second = lines[-2:]
    assert first.split() == [
        "nnUNetTrainerExt_ep2_it2_",
        *["0.123", "+-", "0.001", "0.9", "(1,", "2", "false)"],
    ]
    assert second == "val1_adam_lr1em3"


def test_columns_that_do_not_fit_follow_below_beside_the_names(monkeypatch):
    lines = drawn(WIDE, monkeypatch, 37 if os.name == "nt" else 36)  # rich leaves one free on Windows
    first, second = (next(i for i, line in enumerate(lines) if text in line) for text in ("+-", "false"))
    assert first < second
    assert all(lines[i].startswith("nnUNetTrainerExt_") for i in (first, second))


def test_a_terminal_that_has_the_sign_shows_it(monkeypatch):
    assert any("0.123 ± 0.001" in line for line in drawn(WIDE, monkeypatch, 100, "utf-8"))
    assert all(line.isascii() for line in drawn(WIDE, monkeypatch, 100, "ascii")[2:])


def test_a_file_gets_no_characters_beyond_ascii():
    file = io.StringIO()
    print_table(dice_table(ROWS), file)
    assert file.getvalue().isascii()
