"""A kill at any operation on files loses nothing, and the same command afterwards ends the work."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from damage import (
    CASES,
    NAME,
    OLD_NS,
    fold,
    grid,
    image,
    label,
    preprocessed,
    scan_of,
    truncate,
    write_data_set,
    write_keeping_time,
)
from factories import softmax, write_dataset_json, write_image, write_prediction
from killing import Order, kill_everywhere

from nnunet_ext.cli.main import main
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.folders import DatasetFolders

SOME = 19 if hasattr(os, "fork") else 40  # a process of its own for each kill takes seconds
EVERY = [pytest.param(1, marks=pytest.mark.exhaustive, id="all"), pytest.param(SOME, id="some")]
PARTS = ("raw", "preprocessed", "results")
FIX = ("check", "-d", "903", "-np", "0", "--fix_raw")
CHECK = ("check", "-d", "903", "-np", "0")
JOURNAL = re.compile(r"\S+journal\.jsonl")


def environment(place):
    return {f"nnUNet_{part}": str(place / part) for part in PARTS}


def files(root, *, quarantined=None):
    """Digest and time of every file below, by path; only those in quarantines, or only others, if told."""
    found = {}
    for path in sorted(root.rglob("*")):
        below = path.relative_to(root)
        if path.is_file() and quarantined in (None, "quarantine" in below.parts):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[below.as_posix()] = (digest, path.stat().st_mtime_ns)
    return found


def digests(found):
    return {path: digest for path, (digest, _) in found.items()}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A data set with a damage for each kind of repair that needs no torch."""
    root = tmp_path_factory.mktemp("damaged")
    folders = write_data_set(root)
    assert isinstance(folders, DatasetFolders)
    truncate(image(folders, CASES[1]))
    write_keeping_time(label(folders, CASES[0]), scan_of(0)[1].astype(np.float32), grid())
    moved = Geometry(**{**grid().__dict__, "origin": (-12.5, 30.25, 7.0001)})
    write_keeping_time(label(folders, CASES[2]), scan_of(2)[1], moved)
    (folders.raw / "imagesTr" / "Thumbs.db").write_bytes(b"junk")
    truncate(fold(folders) / "checkpoint_best.pth")
    shutil.copytree(fold(folders), fold(folders).with_name("fold_0_old"))
    (folders.preprocessed / "gt_segmentations" / f"{CASES[3]}.nii.gz").unlink()
    preprocessed(folders, "notes.txt").write_text("mine", encoding="utf-8")
    for path in folders.raw.rglob("*.nii.gz"):
        os.utime(path, ns=(OLD_NS, OLD_NS))
    return root


def order(tmp_path, template, command, after, every):
    place = tmp_path / "place"
    return Order(str(template), str(place), command, after, environment(place), every, str(tmp_path / "kept"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the data set lies while a command runs."""
    for name, value in environment(tmp_path / "place").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "place"


def undo_all(state, place, output):
    """Take back what the repairs that the output names did, the last repair first."""
    journals = dict.fromkeys(JOURNAL.findall(output))
    shutil.rmtree(place, ignore_errors=True)
    shutil.move(state, place)
    for journal in sorted(journals, reverse=True):
        if Path(journal).exists():
            assert main(["check", "--undo", journal]) == 0
    return files(place, quarantined=False)


@pytest.mark.parametrize("every", EVERY)
def test_a_killed_repair_loses_nothing_and_the_next_ends_it(tmp_path, damaged, place, every, capsys):
    before = files(damaged)
    shutil.copytree(damaged, place)
    assert main(list(FIX)) == 0
    wanted = digests(files(place, quarantined=False))
    all_killed = kill_everywhere(order(tmp_path, damaged, FIX, (FIX,), every))
    assert len(all_killed) > 60 // every
    for killed in all_killed:
        state = Path(killed.state)
        assert killed.codes == [0], killed
        now, aside = files(state, quarantined=False), files(state, quarantined=True)
        assert digests(now) == wanted, killed
        named = {Path(path).parent.name for path in JOURNAL.findall(killed.output)}
        for path in aside:
            parts = Path(path).parts
            assert parts[parts.index("quarantine") + 1] in named, killed
            assert "made" not in parts and not parts[-1].startswith(".part"), killed
        kept = {digest for digest, _ in [*aside.values(), *now.values()]}
        assert {digest for digest, _ in before.values()} <= kept, killed
        assert undo_all(state, place, killed.output) == before, killed
        capsys.readouterr()


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("after", [(), (CHECK,)], ids=["at_once", "after_a_check"])
def test_a_killed_undoing_loses_nothing_and_goes_on(tmp_path, damaged, place, every, after, capsys):
    before = files(damaged)
    shutil.copytree(damaged, place)
    assert main(list(FIX)) == 0
    journal = JOURNAL.findall(capsys.readouterr().out)[0]
    shutil.move(place, tmp_path / "repaired")
    undo = ("check", "--undo", journal)
    all_killed = kill_everywhere(order(tmp_path, tmp_path / "repaired", undo, (*after, undo), every))
    assert len(all_killed) > 20 // every
    for killed in all_killed:
        state = Path(killed.state)
        assert killed.codes[-1] in (0, 2), killed  # 2 is that it was undone already
        assert files(state, quarantined=False) == before, killed
        assert not list(state.rglob(".part*")), killed


@pytest.fixture
def predictions(tmp_path):
    """Two cases as nnU-Net predicts them."""
    folder = tmp_path / "predictions" / "npz"
    write_dataset_json(folder)
    write_prediction(folder, "a", softmax(1))
    write_prediction(folder, "b", softmax(2))
    return folder.parent


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("output", ["store", "npz"])
def test_a_killed_conversion_leaves_each_case_in_one_kind_at_least(
    tmp_path, predictions, place, every, output
):
    command = convert(place / "npz", place / output)
    shutil.copytree(predictions, place)
    assert main(list(command)) == 0
    wanted = digests(files(place))
    all_killed = kill_everywhere(order(tmp_path, predictions, command, (command,), every))
    assert len(all_killed) > 8 // every
    for killed in all_killed:
        assert killed.codes == [0], killed
        assert digests(files(Path(killed.state))) == wanted, killed


@pytest.mark.parametrize("every", EVERY)
def test_a_killed_conversion_back_leaves_each_case_in_one_kind_at_least(tmp_path, predictions, place, every):
    there = (*convert(place / "npz", place / "npz"), "--to", "npz")
    shutil.copytree(predictions, place)
    assert main(list(convert(place / "npz", place / "npz"))) == 0
    shutil.move(place, tmp_path / "stored")
    shutil.copytree(tmp_path / "stored", place)
    assert main(list(there)) == 0
    wanted = sorted(files(place))
    all_killed = kill_everywhere(order(tmp_path, tmp_path / "stored", there, (there,), every))
    assert len(all_killed) > 8 // every
    for killed in all_killed:
        state = Path(killed.state)
        assert killed.codes == [0], killed
        assert sorted(files(state)) == wanted, killed
        for case, seed in (("a", 1), ("b", 2)):
            back = np.load(state / "npz" / f"{case}.npz")["probabilities"]
            np.testing.assert_allclose(back, softmax(seed), atol=1e-5)


def convert(source, target):
    return ("probabilities", "convert", "-i", str(source), "-o", str(target), "--remove_source", "-np", "0")


@pytest.mark.parametrize("every", EVERY)
def test_killed_splits_are_the_old_or_the_new_ones(tmp_path, damaged, place, every):
    command = ("splits", "-d", "903", "-k", "2", "-np", "0")
    old = (damaged / "preprocessed" / NAME / "splits_final.json").read_bytes()
    template = tmp_path / "template"
    write_data_set(template)
    os.utime(template / "preprocessed" / NAME / "splits_final.json", ns=(OLD_NS, OLD_NS))
    shutil.copytree(template, place)
    assert main(list(command)) == 0
    wanted = digests(files(place))
    all_killed = kill_everywhere(order(tmp_path, template, command, (command,), every))
    assert len(all_killed) >= 1
    for killed in all_killed:
        assert killed.codes == [0], killed
        assert digests(files(Path(killed.state))) == wanted, killed
    kept = [path for path in wanted if "splits_final_" in path]
    assert [wanted[path] for path in kept] == [hashlib.sha256(old).hexdigest()]


@pytest.mark.parametrize("every", EVERY)
def test_a_killed_submission_leaves_nothing_behind(tmp_path, place, every):
    template = tmp_path / "template"
    write_dataset_json(template)
    for name in ("a", "b"):
        array = np.random.default_rng(0).integers(0, 4, (5, 7, 9)).astype(np.uint8)
        write_image(template / "imagesTs" / f"{name}_0000.nii.gz", array.astype(np.float32))
        write_image(template / "fused" / f"{name}.nii.gz", array)
    command = ("submit", "-i", str(place / "fused"), "-o", str(place / "out.zip"))
    command += ("-r", str(place / "imagesTs"), "-d", str(place / "dataset.json"))
    all_killed = kill_everywhere(order(tmp_path, template, command, (command,), every))
    assert len(all_killed) > 8 // every
    for killed in all_killed:
        assert killed.codes == [0], killed
        assert sorted(files(Path(killed.state))) == sorted([*files(template), "out.zip"]), killed
    assert not any((tmp_path / "temp").iterdir())
