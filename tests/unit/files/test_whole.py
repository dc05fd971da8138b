import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_ext.errors import CannotReadNow, NotReplaced
from nnunet_ext.files import names
from nnunet_ext.files import whole as files
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.names import check_fetched, check_name, is_junk
from nnunet_ext.files.whole import (
    move,
    remove_leftovers,
    scratch_folder,
    sha256_of,
    sync,
    write_json,
    written_whole,
)


@pytest.mark.parametrize("name", ["._case.npz", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"])
def test_junk_is_known(name):
    assert is_junk(name)


def test_data_is_no_junk():
    assert not is_junk("case.npz")


def test_a_file_that_failed_half_way_leaves_the_older_one_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), written_whole(target) as part:
        part.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_part_file_keeps_the_ending_and_is_hidden(tmp_path):
    with written_whole(tmp_path / "case.nii.gz") as part:
        assert part.name.endswith(".nii.gz")
        assert part.name.startswith(".")
        part.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["case.nii.gz"]


def test_json_is_utf8_and_the_hash_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "folder" / "a.json"
    write_json({"name": "Müller"}, path)
    assert "Müller".encode() in path.read_bytes()
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def living():
    """The number of another process, which runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child.pid
        child.stdin.close()


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path, living):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, alive = (tmp_path / f".part-{pid}-a[1].txt" for pid in (dead.pid, living))
    other = tmp_path / f".part-{dead.pid}-b.txt"
    for path in (left, alive, other):
        path.touch()
    write_json({}, tmp_path / "a[1].txt")
    assert not left.exists()
    assert alive.exists() and other.exists()
    remove_leftovers(tmp_path)
    assert alive.exists() and not other.exists()


def dead_pid():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    return dead.pid


def test_parts_of_parts_and_scratch_folders_of_killed_writers_are_removed(tmp_path, living):
    pid = dead_pid()
    (tmp_path / f".part-{pid}-.part-{pid}-a.b2nd").touch()
    (tmp_path / f".part-{pid}-a.b2nd.files").mkdir()
    (tmp_path / f".part-{pid}-a.b2nd.files" / "x.nii.gz").touch()
    (tmp_path / f".part-{living}-a.b2nd.files").mkdir()
    (tmp_path / f".part-{pid}-b.b2nd.files").mkdir()
    remove_leftovers(tmp_path, "a.b2nd")
    left = {f".part-{living}-a.b2nd.files", f".part-{pid}-b.b2nd.files"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_scratch_folder_is_gone_afterwards_whatever_happened(tmp_path):
    with pytest.raises(RuntimeError), scratch_folder(tmp_path / "new" / "a.zip") as folder:
        (folder / "x").touch()
        assert folder.parent == tmp_path / "new"
        raise RuntimeError
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_that_is_held_open_on_windows_is_tried_again_and_then_told(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("new", encoding="utf-8")
    (tmp_path / "b").write_text("old", encoding="utf-8")
    replace, left = os.replace, [3]

    def held(source, target):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "used by another process", str(source), None, str(target))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", held)
    monkeypatch.setattr(files, "WINDOWS_WAIT_S", 0.0)
    monkeypatch.setattr(files, "IS_WINDOWS", False)
    with pytest.raises(PermissionError, match="used by another process"):
        move(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text(encoding="utf-8") == "old"
    monkeypatch.setattr(files, "IS_WINDOWS", True)
    move(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text(encoding="utf-8") == "new"


@pytest.fixture
def held(monkeypatch):
    """Windows, where files named here are not replaced the next so many times."""
    times = {}
    replace = os.replace

    def refuse(source, target):
        if times.get(Path(target).name, 0) > 0:
            times[Path(target).name] -= 1
            raise PermissionError(13, "Access is denied", str(source), 5, str(target))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", refuse)
    monkeypatch.setattr(files, "WINDOWS_WAIT_S", 0.0)
    monkeypatch.setattr(files, "IS_WINDOWS", True)
    return times


def test_a_file_that_is_held_for_a_moment_is_replaced_when_it_is_let_go(tmp_path, held):
    write_json([1], tmp_path / "a.json")
    held["a.json"] = 2
    write_json([2], tmp_path / "a.json")
    assert (held["a.json"], read_json(tmp_path / "a.json")) == (0, [2])
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_replaced_is_kept_beside_under_a_name_that_is_told(tmp_path, held):
    write_json([1], tmp_path / "a.json")
    held["a.json"] = 100
    with pytest.raises(NotReplaced) as caught:
        write_json([2], tmp_path / "a.json")
    kept = tmp_path / "a.json.nnunet_ext-new"
    assert "close it in other programs" in str(caught.value) and str(kept) in caught.value.strerror
    assert caught.value.filename == str(tmp_path / "a.json")
    assert (read_json(tmp_path / "a.json"), read_json(kept)) == ([1], [2])
    assert len(list(tmp_path.iterdir())) == 2


def test_a_read_only_file_is_named_as_such(tmp_path, held, monkeypatch):
    write_json([1], tmp_path / "a.json")
    held["a.json"] = 100
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(NotReplaced, match="read-only"):
        write_json([2], tmp_path / "a.json")


def test_a_path_too_long_for_windows_is_no_damage(tmp_path, monkeypatch):
    path = tmp_path.joinpath(*["folder" * 4] * 12, "case.nii.gz")
    monkeypatch.setattr(names, "IS_WINDOWS", False)
    check_name(path)
    monkeypatch.setattr(names, "IS_WINDOWS", True)
    with pytest.raises(CannotReadNow, match="LongPathsEnabled"):
        check_name(path)


def test_files_that_may_not_be_written_and_folders_are_synced(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(0o444)
    sync(tmp_path / "a")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")


def test_a_pointer_of_git_lfs_is_not_the_file(tmp_path):
    path = tmp_path / "a_0000.nii.gz"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345678\n")
    with pytest.raises(CannotReadNow, match="fetch it with git lfs pull"):
        check_fetched(path)
    path.write_bytes(b"other")
    check_fetched(path)
