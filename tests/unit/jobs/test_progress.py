import io

import pytest
from rich.console import Console

from nnunet_ext.jobs.progress import CaseBar, pace


@pytest.mark.parametrize(
    ("elapsed_s", "n_done", "n_left", "words"),
    [
        (0.0, 0, 4, ""),
        (5.0, 2, 40, "2.5 s a case, 0:01:40 left"),
        (7200.0, 1, 13, "7200.0 s a case, 26:00:00 left"),
        (3.0, 3, 0, "1.0 s a case, 0:00:00 left"),
    ],
)
def test_the_time_left_is_that_of_the_pace_so_far(elapsed_s, n_done, n_left, words):
    assert pace(elapsed_s, n_done, n_left) == words


def test_a_bar_shows_the_case_the_count_and_what_failed():
    terminal = io.StringIO()
    bar = CaseBar("predict", Console(file=terminal, force_terminal=True, width=120))
    bar.ended("liver_007", 3)
    bar.ended("liver_008", 3, failed=True)
    bar.close()
    shown = terminal.getvalue()
    assert "predict liver_008" in shown and "2/3" in shown and "s a case" in shown
    assert "liver_008: FAILED" in shown and "liver_007: FAILED" not in shown
