"""Predicting and fusing in one pass against nnU-Net's own predictor, to the last voxel."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import warm
from factories import LABELS, REGION_ORDER, REGIONS
from models import write_model, write_scans

from nnunet_ext.ensemble.plan import equal_plan
from nnunet_ext.ensemble.plan_file import read_plan
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.errors import PlanError, UsageError
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution, Shard, connected
from nnunet_ext.prediction.run import run_predict
from nnunet_ext.probabilities.opening import open_probabilities
from nnunet_ext.probabilities.store import StoredProbabilities

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

os.environ.setdefault("nnUNet_def_n_proc", "1")


class House:
    """Models, scans and plans of one test, and nnU-Net's own way to predict."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scans = root / "imagesTs"
        self.cases = write_scans(self.scans)
        self.members: dict[str, str] = {}
        self.more = ""

    def model(self, name: str, *, options: str = "", **files) -> Path:
        folds = files.get("folds", ("0", "1"))
        self.members[name] = f"results: {{d: 902, c: {name}, f: [{', '.join(folds)}]}}{options}"
        return write_model(self.root / "results", name, **files)

    def plan(self) -> Path:
        path = self.root / "plan.yaml"
        members = "".join(f"  m{name}: {{{text}}}\n" for name, text in self.members.items())
        path.write_text(f"members:\n{members}{self.more}", encoding="utf-8")
        return path

    def predict(self, output: str = "out", **options):
        return run_predict(self.plan(), self.scans, self.root / output, device="cpu", **options)

    def nnunet(self, folder: Path, output: str, folds, *, save=True, mirroring=True, step=0.5, previous=None):
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        predictor = nnUNetPredictor(
            tile_step_size=step, use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False
        )
        predictor.initialize_from_trained_model_folder(str(folder), folds)
        (self.root / output).mkdir()
        files = [[str(self.scans / f"{case}_0000.nii.gz")] for case in self.cases]
        targets = [str(self.root / output / case) for case in self.cases]
        before = str(self.root / previous) if previous else None
        predictor.predict_from_files_sequential(
            files, targets, save_probabilities=save, folder_with_segs_from_prev_stage=before
        )
        return self.root / output

    def segmentations(self, folder: str) -> dict[str, np.ndarray]:
        return {case: read_segmentation(self.root / folder / f"{case}.nii.gz")[0] for case in self.cases}

    def assert_same(self, ours: str, theirs: str) -> None:
        mine, its = self.segmentations(ours), self.segmentations(theirs)
        for case in self.cases:
            np.testing.assert_array_equal(mine[case], its[case])
            assert len(np.unique(mine[case])) > 1
            grids = [read_segmentation(self.root / f / f"{case}.nii.gz")[1] for f in (ours, theirs)]
            assert grids[0].differences(grids[1]) == []


@pytest.fixture
def house(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    torch.set_num_threads(1)
    return House(tmp_path)


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != "dataset.json")


@pytest.mark.parametrize(
    ("entries", "order"), [(LABELS, None), (REGIONS, REGION_ORDER)], ids=["labels", "regions"]
)
def test_masks_are_those_of_nnunets_predictions_fused_afterwards(house, entries, order):
    flat = house.model("2d", entries=entries, order=order)
    full = house.model(
        "3d_fullres", options=", mirroring: false, step_size: 0.7", entries=entries, order=order
    )
    assert house.predict().ok
    folders = {
        "2d": [house.nnunet(flat, f"2d_{fold}", (fold,)) for fold in (0, 1)],
        "full": [house.nnunet(full, f"full_{fold}", (fold,), mirroring=False, step=0.7) for fold in (0, 1)],
    }
    dataset = flat / "dataset.json"
    assert run_ensemble(
        equal_plan(folders), house.root / "fused", dataset=dataset, execution=IN_THIS_PROCESS
    ).ok
    house.assert_same("out", "fused")
    from nnunetv2.ensembling.ensemble import ensemble_folders

    all_four = [str(folder) for member in folders.values() for folder in member]
    for folder in all_four:
        shutil.copy(flat / "plans.json", folder)
    ensemble_folders(
        all_four, str(house.root / "theirs"), num_processes=1, dataset_json_file_or_dict=str(dataset)
    )
    house.assert_same("out", "theirs")
    names = [f"{case}.nii.gz" for case in house.cases]
    assert files_of(house.root / "out") == [*names, "predict_report.json"]


@pytest.mark.parametrize("free_bytes", [0, 1 << 40], ids=["in a file", "in memory"])
@pytest.mark.parametrize("n_folds", [2, 9])
def test_however_outputs_wait_all_files_are_the_same(house, monkeypatch, n_folds, free_bytes):
    folds = tuple(map(str, range(n_folds)))
    house.model("3d_fullres", folds=folds)
    assert house.predict(save_probabilities=True).ok
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free_bytes))
    monkeypatch.setattr("nnunet_ext.prediction.waiting.SLAB_BYTES", 1)
    assert house.predict("again", save_probabilities=True).ok
    for case in house.cases:
        for name in (f"{case}.nii.gz", f"{case}.b2nd"):
            one, other = (house.root / folder / name for folder in ("out", "again"))
            assert one.read_bytes() == other.read_bytes()
    assert files_of(house.root / "out") == files_of(house.root / "again")


def test_averaged_logits_give_the_masks_of_nnunets_prediction_with_several_folds(house):
    folder = house.model("3d_fullres", options=", folds: logits", folds=("0", "1", "2"))
    assert house.predict().ok
    house.nnunet(folder, "theirs", (0, 1, 2), save=False)
    house.assert_same("out", "theirs")


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_a_cascade_begins_with_the_segmentations_of_the_same_run(house, mean):
    low = house.model("3d_lowres", options=f", folds: {mean}")
    house.model("3d_cascade_fullres")
    house.more = "weights: {default: {m3d_lowres: 0, m3d_cascade_fullres: 1}}\n"
    cascade = house.root / "results" / "Dataset902_Tiny" / "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
    assert house.predict().ok
    if mean == "logits":
        previous = house.nnunet(low, "low", (0, 1), save=False)
    else:
        each = [house.nnunet(low, f"low_{fold}", (fold,)) for fold in (0, 1)]
        previous = house.root / "low"
        assert run_ensemble(
            equal_plan({"low": each}), previous, dataset=low / "dataset.json", execution=IN_THIS_PROCESS
        ).ok
    folders = [house.nnunet(cascade, f"full_{f}", (f,), previous=previous.name) for f in (0, 1)]
    plan = equal_plan({"cascade": folders})
    assert run_ensemble(
        plan, house.root / "theirs", dataset=low / "dataset.json", execution=IN_THIS_PROCESS
    ).ok
    house.assert_same("out", "theirs")


def test_a_cascade_without_its_previous_stage_is_refused(house):
    house.model("3d_cascade_fullres")
    with pytest.raises(PlanError, match="begins with segmentations of 3d_lowres, and no member has it"):
        house.predict()


def test_a_run_goes_on_with_what_is_not_written_and_does_all_anew_for_another_plan(house):
    house.model("2d")
    first = house.predict()
    times = {case: (house.root / "out" / f"{case}.nii.gz").stat().st_mtime_ns for case in house.cases}
    (house.root / "out" / "case_1.nii.gz").unlink()
    ended = []
    again = house.predict(execution=Execution(on_case=lambda case_id, reason, n: ended.append((case_id, n))))
    assert ended == [("case_1", 1)] and again.ok
    assert [case.output for case in again.cases] == [case.output for case in first.cases]
    for case in ("case_0", "case_2"):
        assert (house.root / "out" / f"{case}.nii.gz").stat().st_mtime_ns == times[case]
    (house.root / "out" / "case_2.nii.gz").write_bytes(b"of somebody else")
    house.predict(execution=Execution(on_case=lambda case_id, reason, n: ended.append((case_id, n))))
    assert ended[1:] == [("case_2", 1)]
    house.more = "postprocess: [keep_largest]\n"
    house.predict(execution=Execution(on_case=lambda case_id, reason, n: ended.append((case_id, n))))
    assert [case for case, _ in ended[2:]] == house.cases


def test_probabilities_of_another_plan_are_not_taken_for_this_ones(house):
    house.model("2d")
    house.predict(save_probabilities=True)
    before = (house.root / "out" / "case_0.b2nd").read_bytes()
    house.members["2d"] = house.members["2d"].replace("[0, 1]", "[1]")
    house.predict()
    house.predict(save_probabilities=True)
    assert (house.root / "out" / "case_0.b2nd").read_bytes() != before
    ended = []
    telling = Execution(on_case=lambda case_id, reason, n: ended.append(case_id))
    house.predict(save_probabilities=True, execution=telling)
    assert ended == []


def test_an_output_that_is_not_finite_fails_by_name_and_writes_nothing(house):
    folder = house.model("2d")
    path = folder / "fold_1" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    for weights in content["network_weights"].values():
        weights.fill_(float("nan"))
    torch.save(content, path)
    report = house.predict()
    assert [case.case_id for case in report.failed] == house.cases
    assert "nnUNetTrainer__nnUNetPlans__2d puts out values that are not finite" in report.failed[0].reason
    assert files_of(house.root / "out") == ["predict_report.json"]


def test_a_bad_scan_takes_no_other_case_down(house):
    house.model("2d")
    (house.scans / "case_1_0000.nii.gz").write_bytes(b"no image")
    shutil.copy(house.scans / "case_0_0000.nii.gz", house.scans / "extra_0001.nii.gz")
    report = house.predict(zip_path=house.root / "s.zip")
    reasons = {case.case_id: case.reason for case in report.failed}
    assert sorted(reasons) == ["case_1", "extra"]
    assert "case_1_0000.nii.gz is no NIfTI file" in reasons["case_1"]
    assert "_0000.nii.gz" in reasons["extra"]
    assert (house.root / "out" / "case_2.nii.gz").exists()
    assert report.zip_fault and not (house.root / "s.zip").exists()


def test_the_zip_is_verified(house):
    house.model("2d")
    report = house.predict(zip_path=house.root / "s.zip")
    assert report.ok
    assert zipfile.ZipFile(house.root / "s.zip").namelist() == [f"{case}.nii.gz" for case in house.cases]


@pytest.mark.parametrize("kind", ["store", "npz"])
def test_fused_probabilities_are_kept_where_they_are_asked_for(house, monkeypatch, kind):
    monkeypatch.setenv("nnUNet_probabilities", kind)
    folder = house.model("2d")
    assert house.predict(save_probabilities=True).ok
    theirs = [house.nnunet(folder, f"fold_{fold}", (fold,)) for fold in (0, 1)]
    for case in house.cases:
        file = open_probabilities(house.root / "out" / f"{case}{'.b2nd' if kind == 'store' else '.npz'}")
        layout = file.layout()
        ours = np.concatenate([block.copy() for block in file.blocks(layout)]).reshape(file.shape)
        mean = sum(np.load(one / f"{case}.npz")["probabilities"] for one in theirs) / 2
        differences = np.abs(ours - mean)
        # Logits are resampled to within a step of half precision, in which nnU-Net keeps them.
        assert differences.max() < 1e-3
        assert differences.mean() < 1e-5
        if kind == "store":
            assert isinstance(file, StoredProbabilities) and file.about.model.folds == ("0", "1")
    if kind == "store":  # two certain folds that contradict each other are a tie within its precision
        return
    plan = equal_plan({"kept": [house.root / "out"]})
    assert run_ensemble(
        plan, house.root / "again", dataset=folder / "dataset.json", execution=IN_THIS_PROCESS
    ).ok
    house.assert_same("again", "out")


@pytest.mark.usefixtures("warm_children")
def test_processes_give_what_threads_give(house):
    house.model("2d")
    assert house.predict().ok
    assert house.predict("workers", execution=Execution(n_processes=2)).ok
    house.assert_same("workers", "out")


def test_an_executor_of_any_kind_gives_what_threads_give(house):
    house.model("2d")
    assert house.predict().ok
    with ThreadPoolExecutor(2) as executor:
        assert house.predict("executor", execution=Execution(executor=executor)).ok
    house.assert_same("executor", "out")


@pytest.mark.slow
def test_a_worker_of_a_cluster_killed_in_the_middle_costs_no_case(house):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")

    house.model("2d")
    assert house.predict().ok
    killed = []

    def kill_one(case_id, reason, n_cases):
        if not killed:
            killed.append(case_id)
            psutil.Process(next(iter(cluster.workers.values())).pid).kill()

    with (
        warm.children(),
        distributed.LocalCluster(
            2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        connected(cluster.scheduler_address) as executor,
    ):
        assert house.predict("cluster", execution=Execution(executor=executor, on_case=kill_one)).ok
    assert killed
    house.assert_same("cluster", "out")


def test_shards_are_all_cases_once(house):
    house.model("2d")
    shards = [house.predict(execution=Execution(shard=Shard(number, 2))) for number in (1, 2)]
    assert [[case.case_id for case in shard.cases] for shard in shards] == [["case_0", "case_2"], ["case_1"]]
    assert sorted(path.name for path in (house.root / "out").glob("*report*")) == [
        "predict_report_1of2.json",
        "predict_report_2of2.json",
    ]
    with pytest.raises(UsageError, match="--zip and --shard"):
        house.predict(execution=Execution(shard=Shard(1, 2)), zip_path=house.root / "s.zip")


def test_models_of_other_labels_are_refused_with_both(house):
    house.model("2d")
    house.model("3d_fullres", entries={"background": 0, "organ": 1})
    with pytest.raises(PlanError, match="m3d_fullres has the labels background"):
        house.predict()


def test_an_ensemble_of_folders_says_who_predicts_with_trained_models(house):
    house.model("2d")
    with pytest.raises(PlanError, match="nnunet_ext predict"):
        run_ensemble(read_plan(house.plan()), house.root / "out")


def test_label_weights_are_those_of_the_ensemble_and_recorded(house):
    flat, full = house.model("2d"), house.model("3d_fullres")
    weights = "weights: {default: {m2d: 1, m3d_fullres: 2}, labels: {myocardium: {m2d: 3, m3d_fullres: 1}}}\n"
    house.more = weights
    assert house.predict().ok
    for name, folder in (("m2d", flat), ("m3d_fullres", full)):
        for fold in (0, 1):
            house.nnunet(folder, f"{name}_{fold}", (fold,))
    text = "members: {m2d: ['m2d_*'], m3d_fullres: ['m3d_fullres_*']}\n" + weights
    (house.root / "folders.yaml").write_text(text, encoding="utf-8")
    fused = house.root / "theirs"
    assert run_ensemble(
        house.root / "folders.yaml", fused, dataset=flat / "dataset.json", execution=IN_THIS_PROCESS
    ).ok
    house.assert_same("out", "theirs")
    report = json.loads((house.root / "out" / "predict_report.json").read_text(encoding="utf-8"))
    assert report["weights"]["myocardium"] == {"m2d": 0.75, "m3d_fullres": 0.25}
    with pytest.raises(PlanError, match="no probabilities"):
        house.predict(save_probabilities=True)


def test_a_member_with_results_and_folders_predicts_by_the_one_and_fuses_the_others(house):
    folder = house.model("2d", options=", folders: ['pred_*']")
    for fold in (0, 1):
        house.nnunet(folder, f"pred_{fold}", (fold,))
    assert house.predict().ok
    assert run_ensemble(
        house.plan(), house.root / "fused", dataset=folder / "dataset.json", execution=IN_THIS_PROCESS
    ).ok
    house.assert_same("out", "fused")
