import os
import pickle

import pytest

from nnunet_ext import errors
from nnunet_ext.errors import NotReplaced, describe_error


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(errors, "IS_WINDOWS", True)


def test_windows_does_not_find_a_long_path_and_the_message_says_why(windows):
    path = os.path.abspath("/" + "folder/" * 40 + "a.json")  # noqa: PTH100
    said = describe_error(FileNotFoundError(2, "No such file or directory", path))
    assert f"the path has {len(path)} letters" in said and "LongPathsEnabled" in said
    assert "letters" not in describe_error(FileNotFoundError(2, "No such file or directory", "/a.json"))


def test_a_file_that_windows_refuses_is_held_open_or_read_only(windows, tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.touch()
    error = PermissionError(13, "Access is denied", str(path))
    assert describe_error(error).endswith("synchronised)")
    monkeypatch.setattr(errors.os, "access", lambda *_: False)
    assert "read-only" in describe_error(error)


def test_elsewhere_the_system_says_it_all(monkeypatch):
    monkeypatch.setattr(errors, "IS_WINDOWS", False)
    assert describe_error(PermissionError(13, "Denied", "/a")) == "PermissionError: /a: Denied"


def test_a_file_that_was_not_replaced_says_so_in_another_process(windows):
    error = pickle.loads(pickle.dumps(NotReplaced(13, "kept as b", "a")))
    assert isinstance(error, NotReplaced)
    assert describe_error(error) == "NotReplaced: a: kept as b"
