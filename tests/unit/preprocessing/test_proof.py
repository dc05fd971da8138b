"""The proof of what a case was made from, in its own file, and the removal of cases without one."""

import numpy as np

from nnunet_ext.preprocessing.plan import CaseFiles
from nnunet_ext.preprocessing.proof import (
    CaseProof,
    cases_in,
    inputs_digest,
    read_proof,
    remove_other_cases,
    write_proof,
)


def write_case(folder, case_id):
    import blosc2

    for ending in (".b2nd", "_seg.b2nd"):
        blosc2.asarray(np.arange(60.0).reshape(1, 3, 4, 5), urlpath=str(folder / f"{case_id}{ending}"))
    (folder / f"{case_id}.pkl").write_bytes(b"12345")
    return CaseFiles(case_id, (), folder / f"{case_id}.pkl")


def test_a_proof_is_read_back_and_leaves_the_array_as_it_is(tmp_path):
    import blosc2

    files = write_case(tmp_path, "a")
    assert read_proof(tmp_path, "a") is None
    write_proof(tmp_path, files, "plan", "inputs")
    size = (tmp_path / "a_seg.b2nd").stat().st_size
    assert read_proof(tmp_path, "a") == CaseProof("plan", "inputs", (size, 5))
    array = blosc2.open(str(tmp_path / "a.b2nd"), mode="r")
    np.testing.assert_array_equal(array[:].ravel(), np.arange(60.0))


def test_a_proof_is_void_when_a_file_beside_it_changes(tmp_path):
    write_proof(tmp_path, write_case(tmp_path, "a"), "plan", "inputs")
    (tmp_path / "a.pkl").write_bytes(b"123")
    assert read_proof(tmp_path, "a") is None
    assert read_proof(tmp_path, "none") is None


def test_the_digest_is_of_all_raw_files_and_of_the_spacing_beside_a_tiff(tmp_path):
    for name in ("a_0000.tif", "a_0001.tif", "a.tif"):
        (tmp_path / name).write_bytes(name.encode())
    one, two, label = (tmp_path / name for name in ("a_0000.tif", "a_0001.tif", "a.tif"))
    digest = inputs_digest(CaseFiles("a", (one, two), label))
    assert digest == inputs_digest(CaseFiles("a", (one, two), label))
    assert digest != inputs_digest(CaseFiles("a", (two, one), label))
    (tmp_path / "a.json").write_text('{"spacing": [1, 1, 1]}', encoding="utf-8")
    assert digest != inputs_digest(CaseFiles("a", (one, two), label))


def test_all_files_of_other_cases_are_removed_and_no_others(tmp_path):
    for case_id in ("a", "b"):
        write_case(tmp_path, case_id)
    for name in ("a.npz", "c.npy", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert cases_in(tmp_path) == {"a", "b"}
    remove_other_cases(tmp_path, {"a"})
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"a.b2nd", "a_seg.b2nd", "a.pkl", "notes.txt"}
