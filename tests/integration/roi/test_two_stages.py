"""Two stages with nnU-Net's networks: what is written, and what a run that was ended leaves to the next."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from factories import geometry
from models import SHAPE, write_model, write_scans

from nnunet_ext.images.image import read_geometry, read_segmentation
from nnunet_ext.jobs.execution import Execution
from nnunet_ext.prediction import run as predictions
from nnunet_ext.roi.case import CaseState
from nnunet_ext.roi.predict import plan_of_model, run_roi_predict

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

os.environ.setdefault("nnUNet_def_n_proc", "1")
FINE = "members: {full: {results: {d: 902, c: 3d_fullres, f: [0]}, mirroring: false, step_size: 1}}"


class House:
    """Two models with random weights, and their scans."""

    def __init__(self, root: Path) -> None:
        self.root, self.scans, self.out = root, root / "imagesTs", root / "out"
        self.cases = write_scans(self.scans, 2)
        self.coarse = write_model(root / "results", "3d_lowres", ("0",))
        write_model(root / "results", "3d_fullres", ("0",))
        self.fine = root / "fine.yaml"
        self.fine.write_text(FINE, encoding="utf-8")

    def predict(self, **options):
        coarse, fine = plan_of_model(str(self.coarse), "--coarse"), plan_of_model(str(self.fine), "--fine")
        options = {"device": "cpu", "margin_mm": 0.5, "roi_labels": ("left_ventricle",), **options}
        return run_roi_predict(coarse, fine, self.scans, self.out, **options)

    def segmentations(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.out.glob("*.nii.gz"))}


@pytest.fixture
def house(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    torch.set_num_threads(1)
    return House(tmp_path)


@pytest.fixture
def predicted(monkeypatch):
    """The cases that networks have seen, in their order."""
    seen = []
    original = predictions._outcomes

    def noted(jobs, *rest):
        seen.extend(f"{job.output.parent.name}/{job.case_id}" for job in jobs)
        return original(jobs, *rest)

    monkeypatch.setattr(predictions, "_outcomes", noted)
    return seen


def test_results_lie_in_the_scans_geometry_and_are_those_of_the_fine_model_in_the_box(house):
    report = house.predict()
    assert report.ok
    for number, case in enumerate(report.cases):
        array, grid = read_segmentation(house.out / f"{case.case_id}.nii.gz")
        assert grid == read_geometry(house.scans / f"{case.case_id}_0000.nii.gz")
        assert grid.differences(geometry((SHAPE[0], SHAPE[1] + number, SHAPE[2]))) == []
        assert array.dtype == np.uint8
        box = case.rounds[-1].box
        inside = tuple(slice(*ends) for ends in zip(box["start"], box["stop"], strict=True))
        last = house.out / "stages" / f"round_{len(case.rounds) - 1}" / "segmentations"
        np.testing.assert_array_equal(array[inside], read_segmentation(last / f"{case.case_id}.nii.gz")[0])
        assert np.count_nonzero(array) == np.count_nonzero(array[inside])
    content = json.loads(report.path.read_text(encoding="utf-8"))
    assert content["cost"]["n_cases"] == 2
    assert content["cost"]["peak_memory_bytes"] > 1 << 20


def test_a_finished_run_is_not_done_again_and_another_margin_is(house, predicted):
    house.predict()
    first = house.segmentations()
    n_seen = len(predicted)
    assert n_seen >= 4
    house.predict()
    assert len(predicted) == n_seen
    assert house.segmentations() == first
    house.predict(margin_mm=1.5)
    assert len(predicted) > n_seen
    assert not any(name.startswith("coarse") or name.startswith("out") for name in predicted[n_seen:])


def test_a_run_that_was_ended_between_its_stages_goes_on_there(house, predicted, monkeypatch):
    house.predict()
    undisturbed, n_whole = house.segmentations(), len(predicted)
    shutil.rmtree(house.out)
    predicted.clear()

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(CaseState, "end_round", killed)
        with pytest.raises(KeyboardInterrupt):
            house.predict()
    assert len(predicted) == 4
    assert house.segmentations() == {}
    assert house.predict().ok
    assert len(predicted) == n_whole
    assert house.segmentations() == undisturbed


@pytest.mark.slow
@pytest.mark.usefixtures("warm_children")
def test_processes_write_what_this_one_writes(house):
    house.predict()
    here = house.segmentations()
    shutil.rmtree(house.out)
    assert house.predict(execution=Execution(n_processes=2)).ok
    assert house.segmentations() == here
