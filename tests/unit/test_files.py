import hashlib
import os
import subprocess
import sys

import pytest

from nnunet_ext.files import is_junk, remove_leftovers, sha256_of, write_json, written_whole


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


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, alive = (tmp_path / f".part-{pid}-a[1].txt" for pid in (dead.pid, os.getppid()))
    other = tmp_path / f".part-{dead.pid}-b.txt"
    for path in (left, alive, other):
        path.touch()
    write_json({}, tmp_path / "a[1].txt")
    assert not left.exists()
    assert alive.exists() and other.exists()
    remove_leftovers(tmp_path)
    assert alive.exists() and not other.exists()
