"""No file that was changed at random breaks a reader; `tests/fuzzing.py` tries other seeds."""

import pytest
from fuzzing import trial


@pytest.mark.parametrize("n", [1000, pytest.param(5000, marks=pytest.mark.exhaustive)])
def test_no_changed_file_breaks_a_reader(tmp_path, n):
    assert list(trial(tmp_path, seed=1, n=n)) == []
