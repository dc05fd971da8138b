"""Scans of every kind of nnU-Net's readers, in one pass, against nnU-Net's own predictor; and odd ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from factories import write_image
from models import write_model, write_scans

from nnunet_ext.images.image import read_segmentation
from nnunet_ext.prediction.run import run_predict

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

os.environ.setdefault("nnUNet_def_n_proc", "1")

FOLD = 3  # whose random weights see more than one label in the photograph


@pytest.fixture(autouse=True)
def house(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    torch.set_num_threads(1)


def predict(root: Path, configuration: str, fold: int = 0, **options):
    plan = root / "plan.yaml"
    plan.write_text(
        f"members: {{m: {{results: {{d: 902, c: {configuration}, f: [{fold}]}}}}}}", encoding="utf-8"
    )
    return run_predict(plan, root / "imagesTs", root / "out", device="cpu", **options)


def nnunet(root: Path, model: Path, names: list[str], fold: int = 0) -> Path:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (fold,))
    (root / "theirs").mkdir()
    files = [[str(root / "imagesTs" / name)] for name in names]
    targets = [str(root / "theirs" / name.partition("_0000")[0]) for name in names]
    predictor.predict_from_files_sequential(files, targets)
    return root / "theirs"


def assert_same(ours: Path, theirs: Path, name: str) -> None:
    (mine, grid), (its, its_grid) = read_segmentation(ours / name), read_segmentation(theirs / name)
    np.testing.assert_array_equal(mine, its)
    assert len(np.unique(mine)) > 1
    assert grid.differences(its_grid, 1e-3) == []


@pytest.mark.parametrize("reader", ["NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_a_turned_scan_is_segmented_in_its_own_axes(tmp_path, reader):
    (case, *_) = write_scans(tmp_path / "imagesTs", 1)
    scan = tmp_path / "imagesTs" / f"{case}_0000.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(scan)), "PIR"), str(scan))
    model = write_model(tmp_path / "results", "3d_fullres", ("0",), reader=reader)
    assert predict(tmp_path, "3d_fullres").ok
    assert_same(tmp_path / "out", nnunet(tmp_path, model, [scan.name]), f"{case}.nii.gz")


def test_a_photograph_is_one_file_of_three_channels(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "imagesTs"
    folder.mkdir()
    for name, n_colours in (("p", 3), ("alpha", 4)):
        pixels = rng.integers(0, 80, (40, 48, n_colours), dtype=np.uint8)
        for colour in range(n_colours):
            pixels[8 * colour : 8 * colour + 12, 10:35, colour] += 120
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(folder / f"{name}_0000.png"))
    write = {"reader": "NaturalImage2DIO", "channels": ("R", "G", "B"), "ending": ".png"}
    model = write_model(tmp_path / "results", "2d", (str(FOLD),), **write)
    report = predict(tmp_path, "2d", FOLD)
    ((name, reason),) = [(case.case_id, case.reason) for case in report.failed]
    assert name == "alpha" and "there must be _0000.png, _0001.png, _0002.png" in reason
    assert_same(tmp_path / "out", nnunet(tmp_path, model, ["p_0000.png"], FOLD), "p.png")


def test_a_tif_volume_keeps_its_spacing_beside_it(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    folder = tmp_path / "imagesTs"
    folder.mkdir()
    tifffile.imwrite(folder / "t_0000.tif", np.random.default_rng(0).integers(0, 99, (6, 24, 20), np.uint16))
    (folder / "t.json").write_text(json.dumps({"spacing": [3.0, 0.5, 0.5]}), encoding="utf-8")
    model = write_model(tmp_path / "results", "3d_fullres", ("0",), reader="Tiff3DIO", ending=".tif")
    assert predict(tmp_path, "3d_fullres", zip_path=tmp_path / "z.zip").ok
    assert read_segmentation(tmp_path / "out" / "t.tif")[1].spacing == (3.0, 0.5, 0.5)
    assert_same(tmp_path / "out", nnunet(tmp_path, model, ["t_0000.tif"]), "t.tif")


def test_scans_that_are_none_fail_by_name_before_a_network_sees_them(tmp_path):
    (case, *_) = write_scans(tmp_path / "imagesTs", 1)
    folder = tmp_path / "imagesTs"
    good = folder / f"{case}_0000.nii.gz"
    image = sitk.ReadImage(str(good))
    voxels = sitk.GetArrayFromImage(image)
    (folder / "cut_0000.nii.gz").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "empty_0000.nii.gz").write_bytes(b"")
    sitk.WriteImage(sitk.JoinSeries([image] * 3), str(folder / "series_0000.nii.gz"))
    write_image(folder / "nan_0000.nii.gz", np.where(voxels == voxels.max(), np.nan, voxels))
    expected = {
        "cut": "is truncated",
        "empty": "is empty",
        "series": "hold 3 channels",
        "nan": "1 of 2520 voxels are NaN or infinite",
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe_0000.nii.gz")
        expected["pipe"] = "is a named pipe"
    write_model(tmp_path / "results", "3d_fullres", ("0",))
    report = predict(tmp_path, "3d_fullres")
    reasons = {one.case_id: one.reason for one in report.failed}
    assert reasons.keys() == expected.keys()
    for name, part in expected.items():
        assert part in reasons[name] and "Traceback" not in reasons[name], reasons[name]
    assert [path.name for path in (tmp_path / "out").glob("*.nii.gz")] == [f"{case}.nii.gz"]
