"""A damaged preprocessed case is made again by nnU-Net's own preprocessor, and nothing else is touched."""

import json

import numpy as np
import pytest
import warm
from damage import NAME, grid, scan_of, truncate, write_raw
from factories import write_image

from nnunet_ext.check.quarantine.quarantine import undo
from nnunet_ext.check.repair import repair_dataset
from nnunet_ext.check.run import Check
from nnunet_ext.cli.main import main
from nnunet_ext.nnunet.folders import find_dataset

DATASET_ID = 903
CONFIGURATION = "3d_fullres"
CASE = "case_1"

pytestmark = pytest.mark.slow  # fingerprint, plans and preprocessing, each with processes that import torch


def preprocess():
    pytest.importorskip("nnunetv2")
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    extract_fingerprints([DATASET_ID], num_processes=1, verbose=False, show_progress_bar=False)
    plan_experiments([DATASET_ID])
    configurations = ["2d", CONFIGURATION]
    preprocess([DATASET_ID], configurations=configurations, num_processes=[1, 1], show_progress_bar=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("nnunet")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results"):
            (root / name).mkdir()
            patch.setenv(f"nnUNet_{name}", str(root / name))
        write_raw(root / "raw" / NAME)
        with warm.children():
            preprocess()
            yield find_dataset(DATASET_ID)


def arrays(folder):
    import blosc2

    return {path.name: blosc2.open(str(path), mode="r")[:] for path in folder.glob(f"{CASE}*.b2nd")}


def state(root):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file() and "quarantine" not in path.parts
    }


def test_what_nnunet_wrote_is_without_fault(folders):
    report = Check(folders, n_processes=0).run()
    assert [f for f in report.findings if f.severity != "note"] == []


def test_one_damaged_case_is_made_again_and_all_other_files_keep_bytes_and_times(folders):
    configuration = folders.preprocessed / f"nnUNetPlans_{CONFIGURATION}"
    root = folders.raw.parent.parent
    before, good = state(root), arrays(configuration)
    truncate(configuration / f"{CASE}.b2nd")
    damaged = state(root)
    check = Check(folders, n_processes=1)
    report = check.run()
    assert [(f.severity, f.kind) for f in report.findings if f.severity != "note"] == [("error", "damaged")]
    repaired = repair_dataset(check, report, raw=False)
    assert repaired.failed == () and repaired.check.ok
    now, own = (
        state(root),
        {path for path in before if path.name.startswith(CASE) and path.parent == configuration},
    )
    assert {path for path in now if now[path] != before.get(path)} <= own
    assert now.keys() == before.keys()
    for name, array in arrays(configuration).items():
        np.testing.assert_array_equal(array, good[name])
    assert undo(repaired.journal).refused == ()
    assert state(root) == damaged
    assert main(["check", "-d", str(DATASET_ID), "-np", "1", "--fix"]) == 0


def test_a_label_that_nnunet_would_cut_to_nothing_is_rounded_and_its_case_made_again(folders):
    configuration = folders.preprocessed / f"nnUNetPlans_{CONFIGURATION}"
    good = arrays(configuration)
    label = folders.raw / "labelsTr" / f"{CASE}.nii.gz"
    write_image(label, scan_of(1)[1] * np.float32(0.99999994), grid())
    check = Check(folders, n_processes=1)
    report = check.run()
    assert {f.kind for f in report.findings if f.severity == "warning"} == {"inexact_label", "stale"}
    repaired = repair_dataset(check, report, raw=False)
    assert repaired.failed == () and not [f for f in repaired.check.findings if f.severity != "note"]
    for name, array in arrays(configuration).items():
        np.testing.assert_array_equal(array, good[name])


def test_a_case_that_cannot_be_made_is_told_and_the_rest_goes_on(folders):
    configuration = folders.preprocessed / f"nnUNetPlans_{CONFIGURATION}"
    plans = folders.preprocessed / "nnUNetPlans.json"
    whole = plans.read_text()
    content = json.loads(whole)
    content["configurations"][CONFIGURATION]["preprocessor_name"] = "NoSuchPreprocessor"
    plans.write_text(json.dumps(content))
    for path in configuration.glob(f"{CASE}*"):
        path.unlink()
    (configuration / ".DS_Store").write_bytes(b"")
    try:
        check = Check(folders, n_processes=1)
        repaired = repair_dataset(check, check.run(), raw=False)
    finally:
        plans.write_text(whole)
    assert len(repaired.failed) == 1 and CASE in repaired.failed[0]
    assert not (configuration / ".DS_Store").exists()
