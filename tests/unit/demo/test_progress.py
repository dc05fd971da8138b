import pytest

from nnunet_ext.demo.progress import BarTeller, LineTeller, Teller


@pytest.mark.parametrize("kind", [Teller, LineTeller, BarTeller])
def test_every_teller_takes_the_same_calls_and_leaves_stdout_alone(kind, capsys):
    teller = kind()
    with teller.begin(2):
        teller.reused("make data")
        with teller.step("train 2d, fold 0", 3) as on_count:
            on_count(2)
    assert capsys.readouterr().out == ""


def test_one_line_a_step_numbered(capsys):
    teller = LineTeller()
    with teller.begin(2):
        teller.reused("make data")
        with teller.step("train 2d, fold 0", 3) as on_count:
            on_count(3)
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] make data: already done",
        "[2/2] train 2d, fold 0: 0 s",
    ]


def test_a_step_that_fails_is_not_told_as_ended(capsys):
    teller = LineTeller()
    with pytest.raises(ValueError, match="broken"), teller.begin(1), teller.step("train", 1):
        raise ValueError("broken")
    assert capsys.readouterr().err == ""
