"""A change of a data set is done wholly or not at all, and taken back by whoever repeats it."""

import json
import os
from pathlib import Path

import pytest

from nnunet_ext.check.quarantine import moves
from nnunet_ext.check.quarantine.journal import Journal, read_journal
from nnunet_ext.check.quarantine.quarantine import Quarantine, undo
from nnunet_ext.check.quarantine.settling import settle, sweep, unfinished
from nnunet_ext.errors import RepairError, UsageError
from nnunet_ext.nnunet.folders import DatasetFolders

NAME = "Dataset904_Quarantine"


@pytest.fixture
def folders(tmp_path):
    raw, preprocessed = (tmp_path / part / NAME for part in ("raw", "preprocessed"))
    for folder, names in ((raw, ("a.txt", "b.txt")), (preprocessed, ("c.txt",))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(f"old {name}", encoding="utf-8")
    return DatasetFolders(NAME, raw, preprocessed, None)


def state(folders):
    """Text of every file outside the quarantines, by path; of a link where it leads."""
    paths = (p for part in (folders.raw, folders.preprocessed) for p in part.rglob("*"))
    return {
        path: str(path.readlink()) if path.is_symlink() else path.read_text(encoding="utf-8")
        for path in paths
        if (path.is_file() or path.is_symlink()) and "quarantine" not in path.parts
    }


def replace(quarantine, *paths, aside=()):
    """Replace files by new ones in one change."""
    made = []
    for path in paths:
        new = quarantine.making_folder(path) / path.name
        new.write_text(f"new {path.name}", encoding="utf-8")
        made.append((new, path))
    quarantine.change("replace them", aside=aside, put=made)


@pytest.fixture
def repaired(folders):
    """A data set of which one file was set aside, two were replaced and one is new; and its journal."""
    before = state(folders)
    quarantine = Quarantine(folders)
    quarantine.change("set b aside", aside=[folders.raw / "b.txt"])
    replace(quarantine, folders.raw / "a.txt", folders.preprocessed / "c.txt", folders.raw / "new" / "d.txt")
    replace(quarantine, folders.raw / "a.txt")
    assert quarantine.close()
    return before, quarantine.journal


def test_a_change_is_undone_once_and_said_to_be(folders, repaired):
    before, journal = repaired
    assert state(folders) != before
    undone = undo(journal)
    assert undone.refused == () and state(folders) == before
    with pytest.raises(UsageError, match="undone already"):
        undo(journal)
    assert state(folders) == before


def test_an_undoing_that_was_refused_may_be_repeated_any_number_of_times(folders, repaired):
    before, journal = repaired
    (folders.raw / "b.txt").write_text("mine", encoding="utf-8")
    for _ in range(3):
        assert [str(folders.raw / "b.txt") in reason for reason in undo(journal).refused] == [True]
        assert state(folders) == {**before, folders.raw / "b.txt": "mine"}
    (folders.raw / "b.txt").unlink()
    assert undo(journal).restored == (folders.raw / "b.txt",)
    assert state(folders) == before


def test_a_new_file_that_somebody_changed_since_is_not_taken_out(folders, repaired):
    before, journal = repaired
    (folders.preprocessed / "c.txt").write_text("by hand", encoding="utf-8")
    assert "c.txt is not what the repair left there" in undo(journal).refused[0]
    assert state(folders) == {**before, folders.preprocessed / "c.txt": "by hand"}


def test_a_file_that_somebody_took_from_the_quarantine_is_missed(folders, repaired):
    _, journal = repaired
    (journal.parent / "b.txt").unlink()
    assert "not in the quarantine any more" in undo(journal).refused[0]


def test_a_file_that_was_changed_in_the_quarantine_stays_there(folders, repaired):
    _, journal = repaired
    (journal.parent / "b.txt").write_text("other", encoding="utf-8")
    assert "is not what the repair left there" in undo(journal).refused[0]
    assert not (folders.raw / "b.txt").exists()


@pytest.mark.parametrize("n_moves", range(7))
def test_a_file_that_is_held_open_by_others_loses_nothing(folders, monkeypatch, n_moves):
    before, left = state(folders), [n_moves]
    move = moves.move

    def held(source, target):
        left[0] -= 1
        if left[0] == -1:
            raise PermissionError(13, "used by another process", str(source), None, str(target))
        move(source, target)

    monkeypatch.setattr(moves, "move", held)
    quarantine = Quarantine(folders)
    paths = (folders.raw / "a.txt", folders.preprocessed / "c.txt")
    if n_moves < 5:
        with pytest.raises(PermissionError, match="used by another process"):
            replace(quarantine, *paths, aside=[folders.raw / "b.txt"])
        assert state(folders) == before
        assert not quarantine.close()
        assert not (folders.raw / "quarantine").exists()
    else:
        replace(quarantine, *paths, aside=[folders.raw / "b.txt"])
        assert quarantine.close()


def test_an_interruption_takes_back_what_was_halfway(folders, monkeypatch):
    before, do = state(folders), moves.Move.do

    def interrupted(move):
        do(move)
        raise KeyboardInterrupt

    monkeypatch.setattr(moves.Move, "do", interrupted)
    quarantine = Quarantine(folders)
    with pytest.raises(KeyboardInterrupt):
        replace(quarantine, folders.raw / "a.txt")
    assert state(folders) == before
    assert not quarantine.close() and not (folders.raw / "quarantine").exists()


def test_one_file_under_two_names_is_set_aside_once(folders):
    before = state(folders)
    quarantine = Quarantine(folders)
    quarantine.change("aside", aside=[folders.raw / "a.txt", folders.raw / ".." / NAME / "a.txt"])
    quarantine.close()
    assert not (folders.raw / "a.txt").exists()
    assert undo(quarantine.journal).refused == () and state(folders) == before


def test_a_raw_folder_that_may_not_be_written_to_keeps_no_journal(folders, monkeypatch):
    mkdir = Path.mkdir

    def refused(path, *given, **named):
        if folders.raw in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        mkdir(path, *given, **named)

    monkeypatch.setattr(Path, "mkdir", refused)
    quarantine = Quarantine(folders)
    quarantine.change("aside", aside=[folders.preprocessed / "c.txt"])
    assert quarantine.close() and folders.preprocessed in quarantine.journal.parents
    assert undo(quarantine.journal).refused == ()


def test_links_are_moved_as_links_and_come_back_as_they_were(folders, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "e.txt").write_text("far", encoding="utf-8")
    try:
        (folders.raw / "e.txt").symlink_to("../../store/e.txt")
        (folders.raw / "gone.txt").symlink_to("../../store/gone.txt")
    except OSError:
        pytest.skip("this system lets nobody make links")
    before = state(folders)
    quarantine = Quarantine(folders)
    replace(quarantine, folders.raw / "e.txt", aside=[folders.raw / "gone.txt"])
    quarantine.close()
    assert (folders.raw / "e.txt").read_text(encoding="utf-8") == "new e.txt"
    assert (tmp_path / "store" / "e.txt").read_text(encoding="utf-8") == "far"
    assert not os.path.lexists(folders.raw / "gone.txt")
    assert undo(quarantine.journal).refused == ()
    assert state(folders) == before and (folders.raw / "e.txt").is_symlink()


def test_nothing_is_moved_that_is_not_the_data_sets_own(folders, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text("secret", encoding="utf-8")
    names = [tmp_path / "home" / "key", folders.raw / ".." / ".." / "home" / "key", folders.raw]
    if hasattr(os, "symlink") and os.name != "nt":
        (folders.raw / "way_out").symlink_to(tmp_path / "home")
        names.append(folders.raw / "way_out" / "key")
    quarantine = Quarantine(folders)
    for path in names:
        with pytest.raises(RepairError, match="outside of the data set"):
            quarantine.change("set aside", aside=[path])
    quarantine.close()
    assert (tmp_path / "home" / "key").read_text(encoding="utf-8") == "secret"


def test_a_data_set_whose_folders_are_links_to_folders_of_other_names_is_repaired(folders, tmp_path):
    folders.preprocessed.rename(tmp_path / "fast_disk")
    try:
        folders.preprocessed.symlink_to(tmp_path / "fast_disk")
    except OSError:
        pytest.skip("this system lets nobody make links")
    before = (folders.preprocessed / "c.txt").read_text(encoding="utf-8")
    quarantine = Quarantine(folders)
    replace(quarantine, folders.preprocessed / "c.txt")
    quarantine.close()
    assert (folders.preprocessed / "c.txt").read_text(encoding="utf-8") == "new c.txt"
    assert undo(quarantine.journal).refused == ()
    assert (folders.preprocessed / "c.txt").read_text(encoding="utf-8") == before


def test_a_quarantine_that_is_a_link_is_refused(folders, tmp_path):
    (tmp_path / "big").mkdir()
    try:
        (folders.raw / "quarantine").symlink_to(tmp_path / "big")
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(RepairError, match="is a link"):
        Quarantine(folders)


@pytest.mark.parametrize("of_version_1", [True, False])
def test_a_journal_that_leads_elsewhere_moves_nothing(folders, tmp_path, of_version_1):
    home, place = tmp_path / "home", folders.raw / "quarantine" / "q"
    home.mkdir()
    place.mkdir(parents=True)
    (home / "key").write_text("key", encoding="utf-8")
    (place / "payload").write_text("evil", encoding="utf-8")
    entries = (
        [
            {"step": "moved", "path": str(home / "key"), "to": str(place / "payload"), "times_ns": [1, 1]},
            {"step": "made", "path": str(home / "key")},
            {"step": "moved", "path": str(home / "new"), "to": str(place / "payload"), "times_ns": [1, 1]},
        ]
        if of_version_1
        else [
            {"step": "begun", "format": 2, "parts": [str(home)]},
            *(
                {"step": "planned", "change": n, "repair": "evil", "moves": [move]}
                for n, move in enumerate(
                    (
                        {"outside": str(home / "new"), "inside": str(place / "payload"), "goes_in": True},
                        {"outside": str(home / "key"), "inside": str(place / "made" / "x"), "goes_in": False},
                        {"outside": str(folders.raw / "x"), "inside": str(home / "key"), "goes_in": True},
                    )
                )
            ),
        ]
    )
    for entry in entries:
        for move in entry.get("moves", ()):
            move["look"] = {"kind": "file", "n_bytes": 4, "modified_ns": 1}
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (place / "journal.jsonl").write_text(text, encoding="utf-8")
    refused = undo(place / "journal.jsonl").refused
    assert len(refused) >= 2 and all(str(home) in reason for reason in refused)
    assert (home / "key").read_text(encoding="utf-8") == "key"
    assert sorted(path.name for path in home.iterdir()) == ["key"]
    assert (place / "payload").exists() and not (folders.raw / "x").exists()


def test_a_journal_that_lies_in_no_quarantine_is_refused(folders, repaired, tmp_path):
    _, journal = repaired
    other = tmp_path / "journal.jsonl"
    other.write_bytes(journal.read_bytes())
    with pytest.raises(RepairError, match="no quarantine"):
        undo(other)
    with pytest.raises(UsageError, match="is no file"):
        undo(tmp_path / "none.jsonl")


def test_a_journal_cut_short_anywhere_never_loses_a_file(folders, tmp_path):
    before = set(state(folders).values())
    quarantine = Quarantine(folders)
    quarantine.change("set b aside", aside=[folders.raw / "b.txt"])
    replace(quarantine, folders.raw / "a.txt")
    quarantine.close()
    whole = quarantine.journal.read_bytes()
    for length in range(0, len(whole), 3):
        quarantine.journal.write_bytes(whole[:length])
        assert len(read_journal(quarantine.journal).unreadable) == 0
    quarantine.journal.write_bytes(whole[: whole.index(b'"closed"') - 5])
    undone = undo(quarantine.journal)
    assert undone.refused == () and set(state(folders).values()) == before


@pytest.mark.parametrize("torn", [2, 3])
def test_a_torn_line_is_told_and_what_follows_is_undone(folders, torn):
    quarantine = Quarantine(folders)
    for name in ("a.txt", "b.txt"):
        replace(quarantine, folders.raw / name)
    quarantine.close()
    lines = quarantine.journal.read_bytes().splitlines(keepends=True)
    lines[torn - 1] = lines[torn - 1][:15] + b"\n"
    quarantine.journal.write_bytes(b"".join(lines))
    undone = undo(quarantine.journal)
    assert (folders.raw / "b.txt").read_text(encoding="utf-8") == "old b.txt"
    assert f"line {torn} of" in undone.refused[0]
    if torn == 2:  # the plan of the first change
        assert any("a.txt" in reason for reason in undone.refused[1:])
        assert (quarantine.journal.parent / "a.txt").read_text(encoding="utf-8") == "old a.txt"
    else:
        assert (folders.raw / "a.txt").read_text(encoding="utf-8") == "old a.txt"


def of_version_1(folders, name="20260101_000000_000000"):
    """What version 1 left of a repair: `a` replaced, `b` set aside, `d` new, `c` replaced."""
    entries = []
    for part, file, is_moved, is_made in (
        (folders.raw, "a.txt", True, True),
        (folders.raw, "b.txt", True, False),
        (folders.raw, "d.txt", False, True),
        (folders.preprocessed, "c.txt", True, True),
    ):
        place = part / "quarantine" / name
        place.mkdir(parents=True, exist_ok=True)
        if is_moved:
            (part / file).rename(place / file)
            times = [1, (place / file).stat().st_mtime_ns]
            entries.append(
                {"step": "moved", "path": str(part / file), "to": str(place / file), "times_ns": times}
            )
        if is_made:
            (part / file).write_text(f"new {file}", encoding="utf-8")
            entries.append({"step": "made", "path": str(part / file)})
    journal = folders.raw / "quarantine" / name / "journal.jsonl"
    journal.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return journal


def test_a_journal_of_version_1_is_undone_and_again_changes_nothing(folders):
    before = state(folders)
    journal = of_version_1(folders)
    assert unfinished(folders) == ()
    assert len(undo(journal).restored) == 3
    assert state(folders) == before
    with pytest.raises(UsageError, match="undone already"):
        undo(journal)


def test_a_journal_of_version_1_that_was_undone_in_part_takes_nothing_away(folders):
    before = state(folders)
    journal = of_version_1(folders)
    for path in (folders.raw / "a.txt", folders.preprocessed / "c.txt", folders.raw / "d.txt"):
        path.unlink()
    for path in (folders.raw / "a.txt", folders.preprocessed / "c.txt"):
        (path.parent / "quarantine" / journal.parent.name / path.name).rename(path)
    assert undo(journal).restored == (folders.raw / "b.txt",)
    assert state(folders) == before


def test_a_torn_line_of_version_1_keeps_both_files_of_what_it_tells(folders):
    journal = of_version_1(folders)
    lines = journal.read_text(encoding="utf-8").splitlines()
    journal.write_text("\n".join(["{" if n == 0 else line for n, line in enumerate(lines)]), encoding="utf-8")
    undone = undo(journal)
    assert any("line 1 of" in reason for reason in undone.refused)
    assert (folders.raw / "a.txt").read_text(encoding="utf-8") == "new a.txt"
    assert (journal.parent / "a.txt").read_text(encoding="utf-8") == "old a.txt"
    assert (folders.preprocessed / "c.txt").read_text(encoding="utf-8") == "old c.txt"


def test_a_repair_that_runs_is_not_ended_by_another(folders):
    quarantine = Quarantine(folders)
    quarantine.change("set b aside", aside=[folders.raw / "b.txt"])
    assert unfinished(folders) == (quarantine.journal,)
    for act in (settle, undo):
        with pytest.raises(RepairError, match="another process"):
            act(quarantine.journal)
    with pytest.raises(RepairError, match="is not done"):
        Quarantine(folders)
    assert sorted(path.name for path in (folders.raw / "quarantine").iterdir()) == [
        quarantine.journal.parent.name
    ]
    quarantine.close()
    assert unfinished(folders) == ()


def test_a_repair_without_a_change_leaves_nothing(folders):
    quarantine = Quarantine(folders)
    quarantine.making_folder(folders.raw / "a.txt")
    quarantine.change("set aside what is not there", aside=[folders.raw / "none"])
    assert not quarantine.close()
    assert not (folders.raw / "quarantine").exists()


def test_a_folder_of_the_name_that_repairs_use_is_kept(folders):
    for name in ("made", "undone", "Made"):
        (folders.raw / name).mkdir(exist_ok=True)
        (folders.raw / name / ".DS_Store").write_text("junk", encoding="utf-8")
    before = state(folders)
    quarantine = Quarantine(folders)
    for name in ("made", "undone", "Made"):
        quarantine.change("set aside", aside=[folders.raw / name / ".DS_Store"])
    assert quarantine.close()
    assert undo(quarantine.journal).refused == () and state(folders) == before


def test_what_was_killed_is_taken_back_and_what_was_done_stays(folders, monkeypatch):
    quarantine = Quarantine(folders)
    quarantine.change("set b aside", aside=[folders.raw / "b.txt"])
    after_first = state(folders)

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(moves.Move, "do", kill)
        with pytest.raises(Killed):
            replace(quarantine, folders.raw / "a.txt")
    quarantine._log.close()
    assert unfinished(folders) == (quarantine.journal,)
    settled = settle(quarantine.journal)
    assert (settled.taken_back, settled.n_standing, settled.refused) == ("replace them", 1, ())
    assert state(folders) == after_first
    assert unfinished(folders) == () and not (quarantine.journal.parent / "made").exists()
    assert undo(quarantine.journal).restored == (folders.raw / "b.txt",)


def test_empty_folders_of_repairs_that_never_began_are_removed_and_others_stay(folders, repaired):
    _, journal = repaired
    (folders.raw / "quarantine" / "empty" / "labelsTr").mkdir(parents=True)
    (folders.raw / "quarantine" / "mine").mkdir()
    (folders.raw / "quarantine" / "mine" / "notes.txt").touch()
    sweep(folders)
    left = sorted(path.name for path in (folders.raw / "quarantine").iterdir())
    assert left == sorted([journal.parent.name, "mine"])


def test_an_entry_that_cannot_be_written_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(step="begun")
    write = os.write

    def full(handle, data):
        if len(data) > 5:
            return write(handle, data[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            journal.write(step="planned", change=1)
    journal.write(step="closed")
    journal.close()
    assert read_journal(Path(tmp_path / "journal.jsonl")).unreadable == ()
