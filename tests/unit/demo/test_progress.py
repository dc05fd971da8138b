import pytest

from nnunet_ext.demo.progress import BarProgress, DemoProgress, LineProgress


@pytest.mark.parametrize("kind", [DemoProgress, LineProgress, BarProgress])
def test_every_progress_takes_the_same_calls_and_leaves_stdout_alone(kind, capsys):
    progress = kind()
    with progress.begin(2):
        progress.reused("make data")
        with progress.step("train 2d, fold 0", 3) as on_count:
            on_count(2)
    assert capsys.readouterr().out == ""


def test_one_line_a_step_numbered(capsys):
    progress = LineProgress()
    with progress.begin(2):
        progress.reused("make data")
        with progress.step("train 2d, fold 0", 3) as on_count:
            on_count(3)
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] make data: already done",
        "[2/2] train 2d, fold 0: 0 s",
    ]


def test_a_step_that_fails_is_not_printed_as_ended(capsys):
    progress = LineProgress()
    with pytest.raises(ValueError, match="broken"), progress.begin(1), progress.step("train", 1):
        raise ValueError("broken")
    assert capsys.readouterr().err == ""
