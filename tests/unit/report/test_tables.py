import io

import pytest

from nnunet_ext.report.dice import DiceSummary
from nnunet_ext.report.tables import Table, as_text, dice_table, print_table

ROWS = {
    "2d": {"liver": DiceSummary(0.9, 4, 4, 0), "right_lobe": DiceSummary(None, 4, 0, 2)},
    "ensemble": {"liver": DiceSummary(0.95, 4, 4, 0), "right_lobe": DiceSummary(None, 4, 0, 0)},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_absent_label_is_a_dash_and_false_alarms_are_told():
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


def test_a_file_gets_no_characters_beyond_ascii():
    file = io.StringIO()
    print_table(dice_table(ROWS), file)
    assert file.getvalue().isascii()
