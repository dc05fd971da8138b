import pickle
import shutil

import numpy as np
import pytest
from factories import geometry, softmax, write_dataset_json, write_prediction

from nnunet_ext.cli.main import main
from nnunet_ext.ensemble.plan import equal_plan
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.nnunet.properties import read_properties
from nnunet_ext.probabilities import convert as convert_module
from nnunet_ext.probabilities.convert_folder import convert_folder
from nnunet_ext.probabilities.npz import NpzProbabilities
from nnunet_ext.probabilities.store import StoredProbabilities
from nnunet_ext.probabilities.store_format import ERROR_BOUND


@pytest.fixture
def predictions(tmp_path):
    """A folder of two cases, one under nnU-Net's longer name, with a stray file."""
    folder = tmp_path / "npz"
    write_dataset_json(folder)
    write_prediction(folder, "a", softmax(1))
    write_prediction(folder, "b.nii.gz", softmax(2))
    (folder / "._a.npz").touch()
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def flip(path, position=-200):
    whole = bytearray(path.read_bytes())
    whole[position] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize("n_processes", [0, 2])
def test_a_folder_is_converted_and_its_sources_stay(tmp_path, predictions, n_processes):
    before = names(predictions)
    records = convert_folder(predictions, tmp_path / "store", execution=Execution(n_processes=n_processes))
    assert [(record.case_id, record.reason) for record in records] == [("a", None), ("b", None)]
    assert names(tmp_path / "store") == ["a.b2nd", "b.b2nd", "dataset.json"]
    assert names(predictions) == before
    file = StoredProbabilities(tmp_path / "store" / "b.b2nd")
    assert np.abs(file.read() - softmax(2)).max() <= ERROR_BOUND
    assert file.placement.file == geometry()


def test_sources_are_removed_only_when_told_and_only_where_the_result_is_right(tmp_path, predictions):
    flip(predictions / "b.nii.gz.npz")
    records = convert_folder(predictions, predictions, remove_source=True, execution=IN_THIS_PROCESS)
    assert [record.case_id for record in records if record.reason] == ["b"]
    assert names(predictions) == ["._a.npz", "a.b2nd", "b.nii.gz.npz", "b.nii.gz.pkl", "dataset.json"]


def test_a_result_that_differs_from_its_source_gets_no_name_and_the_source_stays(
    tmp_path, predictions, monkeypatch
):
    before = names(predictions)
    monkeypatch.setattr(
        "nnunet_ext.probabilities.store_writer.quantise", lambda block, out: out.fill(7), raising=True
    )
    records = convert_folder(predictions, predictions, remove_source=True, execution=IN_THIS_PROCESS)
    assert all("differs by" in record.reason for record in records)
    assert names(predictions) == before


def test_the_way_back_gives_the_stored_numbers_and_nnunets_properties(tmp_path, predictions):
    convert_folder(predictions, tmp_path / "store", execution=IN_THIS_PROCESS)
    records = convert_folder(tmp_path / "store", tmp_path / "back", to="npz", execution=IN_THIS_PROCESS)
    assert not any(record.reason for record in records)
    assert names(tmp_path / "back") == ["a.npz", "a.pkl", "b.npz", "b.pkl", "dataset.json"]
    back = np.load(tmp_path / "back" / "a.npz")["probabilities"]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, StoredProbabilities(tmp_path / "store" / "a.b2nd").read())
    np.testing.assert_array_equal(
        np.stack(list(NpzProbabilities(tmp_path / "back" / "a.npz").blocks())).ravel(), back.ravel()
    )
    before, after = (read_properties(folder / "a.pkl") for folder in (predictions, tmp_path / "back"))
    del before["class_locations"]
    assert after == before


def test_going_there_and_back_twice_changes_nothing_more(tmp_path, predictions):
    convert_folder(predictions, tmp_path / "1", execution=IN_THIS_PROCESS)
    convert_folder(tmp_path / "1", tmp_path / "2", to="npz", execution=IN_THIS_PROCESS)
    convert_folder(tmp_path / "2", tmp_path / "3", execution=IN_THIS_PROCESS)
    assert (tmp_path / "1" / "a.b2nd").read_bytes() == (tmp_path / "3" / "a.b2nd").read_bytes()


def test_wrong_uses_are_refused_before_anything_is_written(tmp_path, predictions):
    with pytest.raises(UsageError, match="--remove_source"):
        convert_folder(predictions, predictions)
    with pytest.raises(UsageError, match=r"CASE\.b2nd"):
        convert_folder(predictions, tmp_path / "out", to="npz")
    (predictions / "dataset.json").rename(tmp_path / "dataset.json")
    with pytest.raises(UsageError, match="-d"):
        convert_folder(predictions, tmp_path / "out")
    with pytest.raises(DatasetError):
        convert_folder(predictions, tmp_path / "out", dataset=tmp_path / "none.json")
    write_prediction(predictions, "b", softmax(2))
    with pytest.raises(UsageError, match="holds b twice"):
        convert_folder(predictions, tmp_path / "out", dataset=tmp_path / "dataset.json")
    assert not (tmp_path / "out").exists()


def test_another_number_of_labels_fails_by_name(tmp_path, predictions):
    write_prediction(predictions, "a", softmax(1, n_labels=3))
    (failed,) = [
        r for r in convert_folder(predictions, tmp_path / "out", execution=IN_THIS_PROCESS) if r.reason
    ]
    assert failed.case_id == "a" and "3 labels" in failed.reason


def fuse(folders, out):
    report = run_ensemble(equal_plan({f.name: [f] for f in folders}), out, execution=IN_THIS_PROCESS)
    return report, {
        case.case_id: read_segmentation(out / case.output) for case in report.cases if case.output
    }


def test_an_ensemble_that_mixes_both_kinds_gives_the_same_masks(tmp_path):
    folders = [tmp_path / f"m{m}" for m in range(3)]
    for m, folder in enumerate(folders):
        write_dataset_json(folder)
        for c, case in enumerate("ab"):
            write_prediction(folder, case, softmax(10 * m + c))
    _, expected = fuse(folders, tmp_path / "npz_only")
    convert_folder(folders[1], tmp_path / "s1", execution=IN_THIS_PROCESS)
    convert_folder(folders[2], tmp_path / "s2", execution=IN_THIS_PROCESS)
    shutil.copy(tmp_path / "s2" / "a.b2nd", folders[2])
    (folders[2] / "a.npz").unlink()  # one case of a folder in each kind
    report, mixed = fuse([folders[0], tmp_path / "s1", folders[2]], tmp_path / "mixed")
    assert report.ok
    for case in "ab":
        np.testing.assert_array_equal(mixed[case][0], expected[case][0])
        assert mixed[case][1] == expected[case][1]


def test_a_case_with_a_flipped_byte_is_named_and_the_others_go_on(tmp_path, predictions, capsys):
    convert_folder(predictions, tmp_path / "store", execution=IN_THIS_PROCESS)
    flip(tmp_path / "store" / "a.b2nd", 700)
    report, written = fuse([tmp_path / "store", predictions], tmp_path / "out")
    (failed,) = report.failed
    assert failed.case_id == "a" and str(tmp_path / "store" / "a.b2nd") in failed.reason
    assert list(written) == ["b"]
    back = ["probabilities", "convert", "-i", str(tmp_path / "store"), "-o", str(tmp_path / "back")]
    assert main([*back, "--to", "npz", "-np", "0"]) == 1
    assert "FAILED a: " in capsys.readouterr().out
    assert names(tmp_path / "back") == ["b.npz", "b.pkl", "dataset.json"]
    assert main(["probabilities", "info", str(tmp_path / "store" / "a.b2nd")]) == 1


def test_members_of_other_labels_are_refused_with_both(tmp_path, predictions):
    convert_folder(predictions, tmp_path / "store", execution=IN_THIS_PROCESS)
    other = {"background": 0, "liver": 1, "spleen": 2, "tumour": 3}
    write_dataset_json(tmp_path / "store", other)
    report, _ = fuse([tmp_path / "store"], tmp_path / "out")
    assert all("myocardium (1)" in c.reason and "liver (1)" in c.reason for c in report.failed)
    assert len(report.failed) == 2


def test_info_tells_what_a_file_holds(tmp_path, predictions, capsys):
    assert (
        main(["probabilities", "convert", "-i", str(predictions), "-o", str(tmp_path / "s"), "-np", "0"]) == 0
    )
    assert "2 of 2 cases written" in capsys.readouterr().out
    assert main(["probabilities", "info", str(tmp_path / "s" / "a.b2nd")]) == 0
    out = capsys.readouterr().out
    for part in ("(4, 5, 7, 9)", "left_ventricle (2)", "spacing (3.0, 0.8, 0.7)", "sitk_stuff", "every byte"):
        assert part in out
    assert main(["probabilities", "info", str(predictions / "a.npz")]) == 0


def test_a_pickle_whose_npz_was_converted_and_removed_is_removed_by_the_next_run(tmp_path, predictions):
    store = tmp_path / "store"
    convert_folder(predictions, store, execution=IN_THIS_PROCESS)
    (predictions / "a.npz").unlink()  # as a kill between the two removals leaves it
    (predictions / "b.nii.gz.npz").unlink()
    (predictions / "other.pkl").write_bytes(pickle.dumps({"spacing": [1, 1, 1]}))
    (predictions / "b.nii.gz.pkl").write_bytes(pickle.dumps({"spacing": [7, 7, 7]}))  # of another prediction
    assert convert_folder(predictions, store, remove_source=True, execution=IN_THIS_PROCESS) == ()
    assert names(predictions) == ["._a.npz", "b.nii.gz.pkl", "dataset.json", "other.pkl"]


def test_a_pickle_stays_without_being_told_to_remove_sources(tmp_path, predictions):
    convert_folder(predictions, tmp_path / "store", execution=IN_THIS_PROCESS)
    (predictions / "a.npz").unlink()
    convert_folder(predictions, tmp_path / "store", execution=IN_THIS_PROCESS)
    assert (predictions / "a.pkl").exists()


def test_nothing_left_to_convert_is_said(tmp_path, predictions, capsys):
    command = ["probabilities", "convert", "-i", str(predictions), "-o", str(tmp_path / "store")]
    command += ["--remove_source", "-np", "0"]
    assert main(command) == 0 and main(command) == 0
    assert "nothing is left to convert" in capsys.readouterr().out


def test_results_are_on_the_disk_before_a_source_goes(tmp_path, predictions, monkeypatch):
    done = []
    sync, unlink = convert_module.sync, type(tmp_path).unlink
    monkeypatch.setattr(convert_module, "sync", lambda path: (done.append(path.name), sync(path)))

    def removed(path, missing_ok=False):
        done.append(f"removed {path.name}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(type(tmp_path), "unlink", removed)
    convert_folder(predictions, tmp_path / "store", remove_source=True, execution=IN_THIS_PROCESS)
    removals = [name for name in done if name in ("removed a.npz", "removed a.pkl")]
    assert removals == ["removed a.npz", "removed a.pkl"]
    before = done[: done.index("removed a.npz")]
    assert any(name.endswith("-a.b2nd") for name in before) and "store" in before


def test_no_part_of_a_part_is_written(tmp_path, predictions, monkeypatch):
    seen = []
    compare = convert_module._compare
    monkeypatch.setattr(
        convert_module,
        "_compare",
        lambda *given: (seen.append(names(tmp_path / "store")), compare(*given))[1],
    )
    convert_folder(predictions, tmp_path / "store", execution=IN_THIS_PROCESS)
    assert seen and not [name for found in seen for name in found if name.count(".part-") > 1]


def test_probabilities_of_others_are_not_replaced(tmp_path, predictions):
    store, theirs = tmp_path / "store", tmp_path / "theirs"
    convert_folder(predictions, store, execution=IN_THIS_PROCESS)
    assert not any(
        one.reason for one in convert_folder(predictions, store, execution=IN_THIS_PROCESS)
    )  # its own
    write_dataset_json(theirs)
    write_prediction(theirs, "a", softmax(3))
    before = (theirs / "a.npz").read_bytes()
    a, b = convert_folder(store, theirs, to="npz", execution=IN_THIS_PROCESS)
    assert "holds other probabilities" in a.reason
    assert b.reason is None
    assert (theirs / "a.npz").read_bytes() == before
    a, _ = convert_folder(theirs, store, execution=IN_THIS_PROCESS)
    assert "holds other probabilities" in a.reason
    done = convert_folder(store, theirs, to="npz", overwrite=True, execution=IN_THIS_PROCESS)
    assert not any(one.reason for one in done)


def test_the_way_back_does_not_replace_an_npz_that_is_exacter(tmp_path, predictions):
    convert_folder(predictions, tmp_path / "store", execution=IN_THIS_PROCESS)
    before = (predictions / "a.npz").read_bytes()
    a, _ = convert_folder(tmp_path / "store", predictions, to="npz", execution=IN_THIS_PROCESS)
    assert "holds other probabilities" in a.reason
    assert (predictions / "a.npz").read_bytes() == before
