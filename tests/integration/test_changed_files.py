"""No file that was changed at random breaks a reader; `tests/fuzzing.py` tries other seeds."""

from fuzzing import trial


def test_no_changed_file_breaks_a_reader(tmp_path):
    assert list(trial(tmp_path, seed=1, n=5000)) == []
