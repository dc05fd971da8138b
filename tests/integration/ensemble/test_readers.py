"""A second opinion on readers that turn scans: what nnU-Net's own readers write of the same probabilities."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from factories import COSINE, LABELS, SHAPE, SINE, softmax, write_dataset_json, write_image

from nnunet_ext.ensemble.plan import equal_plan
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.postprocess.run import run_postprocess
from nnunet_ext.probabilities.convert_folder import convert_folder
from nnunet_ext.tuning.cases import read_cases
from nnunet_ext.tuning.validation import find_validation

imageio = pytest.importorskip("nnunetv2.imageio.reader_writer_registry", reason="nnunetv2 is not installed")
simpleitk = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer")

READERS = ["SimpleITKIO", "NibabelIO", "SimpleITKIOWithReorient", "NibabelIOWithReorient"]
ORIENTATIONS = ["LPS", "RAS", "RPI", "PIR", "SAL", "ASR"]
OBLIQUE = Geometry(
    SHAPE, (3.0, 0.8, 0.7), (-12.5, 30.25, 7.0), (COSINE, -SINE, 0, SINE, COSINE, 0, 0, 0, 1.0)
)
ENTRIES = {name: value for name, value in LABELS.items() if value < 4}


def reader_of(name):
    return getattr(simpleitk, name)() if name.startswith("Simple") else find(name)


def find(name):
    return imageio.recursive_find_reader_writer_by_name(name)()


def write_scan(path, orientation):
    """An oblique, anisotropic scan whose axes run as the letters say."""
    image = sitk.ReadImage(str(write_image(path, np.random.default_rng(0).normal(size=SHAPE), OBLIQUE)))
    sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(path))
    return path


def write_member(folder, scan, reader, seed=0, with_properties=True):
    """One case as nnU-Net's exporter writes it: probabilities, properties, segmentation; and the reader."""
    write_dataset_json(folder, ENTRIES)
    (folder / "plans.json").write_text(json.dumps({"image_reader_writer": reader}), encoding="utf-8")
    images, properties = reader_of(reader).read_images((str(scan),))
    probabilities = softmax(seed, 4, images.shape[1:])
    np.savez_compressed(folder / "a.npz", probabilities=probabilities)
    if with_properties:
        (folder / "a.pkl").write_bytes(pickle.dumps(properties))
    segmentation = probabilities.argmax(0).astype(np.uint8)
    reader_of(reader).write_seg(segmentation, str(folder / "theirs.nii.gz"), properties)
    return folder


def same(ours, theirs):
    (mine, grid), (its, its_grid) = read_segmentation(ours), read_segmentation(theirs)
    np.testing.assert_array_equal(mine, its)
    assert grid.differences(its_grid, 1e-3) == []


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_ensemble_of_one_is_what_nnunets_reader_writes(tmp_path, reader, orientation):
    scan = write_scan(tmp_path / "imagesTs" / "a_0000.nii.gz", orientation)
    member = write_member(tmp_path / "m", scan, reader)
    plan = equal_plan({"m": [member]})
    assert run_ensemble(plan, tmp_path / "ours", execution=IN_THIS_PROCESS).ok
    same(tmp_path / "ours" / "a.nii.gz", member / "theirs.nii.gz")
    convert_folder(member, tmp_path / "store", execution=IN_THIS_PROCESS)
    assert run_ensemble(
        equal_plan({"m": [tmp_path / "store"]}), tmp_path / "stored", execution=IN_THIS_PROCESS
    ).ok
    same(tmp_path / "stored" / "a.nii.gz", member / "theirs.nii.gz")


@pytest.mark.parametrize("reader", READERS)
def test_without_properties_the_reader_of_the_plans_and_the_scan_tell_where_voxels_lie(tmp_path, reader):
    scan = write_scan(tmp_path / "imagesTs" / "a_0000.nii.gz", "PIR")
    member = write_member(tmp_path / "m", scan, reader, with_properties=False)
    alone = run_ensemble(equal_plan({"m": [member]}), tmp_path / "alone", execution=IN_THIS_PROCESS)
    assert "with -r" in alone.failed[0].reason
    ours = tmp_path / "ours"
    assert run_ensemble(
        equal_plan({"m": [member]}), ours, references=scan.parent, execution=IN_THIS_PROCESS
    ).ok
    same(ours / "a.nii.gz", member / "theirs.nii.gz")


def test_steps_work_on_the_axes_of_the_file(tmp_path):
    scan = write_scan(tmp_path / "imagesTs" / "a_0000.nii.gz", "PIR")
    member = write_member(tmp_path / "m", scan, "NibabelIOWithReorient")
    steps = ({"fill_holes": {"slice_by_slice": True}},)
    plan = equal_plan({"m": [member]})
    run_ensemble(replace(plan, postprocess=steps), tmp_path / "ours", execution=IN_THIS_PROCESS)
    (tmp_path / "theirs").mkdir()
    (member / "theirs.nii.gz").rename(tmp_path / "theirs" / "a.nii.gz")
    run_postprocess(
        tmp_path / "theirs",
        tmp_path / "pp",
        steps,
        dataset=member / "dataset.json",
        execution=IN_THIS_PROCESS,
    )
    same(tmp_path / "ours" / "a.nii.gz", tmp_path / "pp" / "a.nii.gz")


def test_members_of_readers_that_turn_a_scan_differently_are_not_mixed(tmp_path):
    scan = write_scan(tmp_path / "imagesTs" / "a_0000.nii.gz", "LPS")
    folders = {name: [write_member(tmp_path / name, scan, name)] for name in (READERS[0], READERS[3])}
    report = run_ensemble(equal_plan(folders), tmp_path / "ours", execution=IN_THIS_PROCESS)
    assert "turn this scan differently" in report.failed[0].reason


@pytest.mark.parametrize("reader", READERS)
def test_tuning_compares_probabilities_and_reference_where_they_lie(tmp_path, reader):
    references = tmp_path / "labelsTr"
    references.mkdir()
    folders = {"m": [], "n": []}
    for name, seed in (("m", 0), ("n", 1)):
        for fold, case in enumerate("ab"):
            scan = write_scan(tmp_path / "imagesTr" / f"{case}_0000.nii.gz", "PIR")
            folder = write_member(tmp_path / name / f"fold_{fold}" / "validation", scan, reader, seed)
            if name == "m":
                (folder / "theirs.nii.gz").rename(references / f"{case}.nii.gz")
            for ending in (".npz", ".pkl"):
                (folder / f"a{ending}").rename(folder / f"{case}{ending}")
            (folder / "theirs.nii.gz").unlink(missing_ok=True)
        folders[name] = [tmp_path / name / "fold_0" / "validation", tmp_path / name / "fold_1" / "validation"]
    data = read_dataset(folders["m"][0] / "dataset.json")
    cases, failed = read_cases(find_validation(folders, ".nii.gz"), references, data, IN_THIS_PROCESS)
    assert failed == {} and len(cases) == 2
    for case in cases:
        volume = case.volume
        made = volume.settled.unpacked()
        made.reshape(-1)[volume.voxels] = case.scored.values[:, 0].argmax(axis=0)  # of the first member
        np.testing.assert_array_equal(made, volume.reference.unpacked())
        np.testing.assert_array_equal(
            volume.reference.unpacked(), read_segmentation(references / f"{case.scored.case_id}.nii.gz")[0]
        )
