"""Two stages around models that are played: where boxes grow, fall back and fail, and what is written."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from factories import geometry, write_dataset_json, write_image

from nnunet_ext.errors import PlanError, SegmentationError, UsageError
from nnunet_ext.images.image import read_geometry, read_segmentation, write_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.jobs.report import CaseRecord, Report
from nnunet_ext.nnunet.image_files import find_channels
from nnunet_ext.roi import stages as roi_stages
from nnunet_ext.roi.dataset import MARGIN_MM
from nnunet_ext.roi.evaluate import run_roi_evaluation
from nnunet_ext.roi.predict import plan_of_model, run_roi_predict

SHAPE = (12, 60, 70)  # 3 x 0.8 x 0.7 mm
ENTRIES = {"background": 0, "organ": 1, "lesion": 2}
ORGAN = (slice(3, 9), slice(20, 44), slice(20, 50))


def organ():
    array = np.zeros(SHAPE, np.uint8)
    array[ORGAN] = 1
    array[5, 30:33, 30:33] = 2
    return array


class Models:
    """Plays both models: a scan's values are its labels, of which the coarse one sees a part."""

    def __init__(self, root):
        self.root, self.scans = root, root / "imagesTs"
        self.coarse, self.fine = (self._model(name, ENTRIES) for name in ("3d_lowres", "3d_fullres"))
        self.calls: list[tuple[str, list[str]]] = []
        self.seen = {}
        self.failing: dict[str, set[str]] = {}

    def _model(self, name, entries):
        folder = self.root / "results" / "Dataset003_Liver" / f"nnUNetTrainer__nnUNetPlans__{name}"
        write_dataset_json(folder, entries)
        (folder / "plans.json").write_text("{}", encoding="utf-8")
        (folder / "fold_0").mkdir()
        (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"")
        return folder

    def scan(self, case, coarse_sees, array=None):
        write_image(self.scans / f"{case}_0000.nii.gz", organ() if array is None else array)
        self.seen[case] = coarse_sees

    def predict(self, plan, scans, output, **options):
        stage = output.parent.name if output.name == "segmentations" else output.name
        channels = find_channels(scans, ".nii.gz")
        self.calls.append((stage, sorted(channels)))
        records = []
        for case, (path,) in channels.items():
            if case in self.failing.get(stage, ()):
                records.append(CaseRecord(case_id=case, reason="it broke"))
                continue
            array, grid = read_segmentation(path)
            if stage == "coarse":
                kept = np.zeros_like(array)
                kept[self.seen[case]] = array[self.seen[case]]
                array = kept
            write_segmentation(array, grid, output / f"{case}.nii.gz")
            records.append(
                CaseRecord(case_id=case, output=f"{case}.nii.gz", inputs={str(path): "0" * 64}, elapsed_s=1.0)
            )
        cost = {"elapsed_s": 1.0, "peak_memory_bytes": 1, "peak_gpu_bytes": None, "n_cases": len(records)}
        return Report(path=output / "predict_report.json", settings={"cost": cost}, cases=tuple(records))

    def run(self, **options):
        coarse, fine = (plan_of_model(str(model), "--coarse") for model in (self.coarse, self.fine))
        return run_roi_predict(coarse, fine, self.scans, self.root / "out", **options)

    def written(self, case):
        return read_segmentation(self.root / "out" / f"{case}.nii.gz")


@pytest.fixture
def models(tmp_path, monkeypatch):
    played = Models(tmp_path)
    monkeypatch.setattr(roi_stages, "run_predict", played.predict)
    monkeypatch.delenv("nnUNet_results", raising=False)
    return played


EVERYWHERE = (slice(None),) * 3
CUT = (slice(None), slice(None), slice(0, 26))  # the coarse model sees the left fifth of the organ
NOWHERE = (slice(0, 0),) * 3


def test_the_result_is_that_of_the_fine_model_in_the_scans_exact_geometry(models):
    models.scan("a", EVERYWHERE)
    report = models.run(margin_mm=4)
    assert report.ok
    array, grid = models.written("a")
    np.testing.assert_array_equal(array, organ())
    assert array.dtype == np.uint8
    assert grid == read_geometry(models.scans / "a_0000.nii.gz")
    assert grid.differences(geometry(SHAPE)) == []


def test_only_the_box_and_its_margin_is_shown_to_the_fine_model(models):
    models.scan("a", EVERYWHERE)
    (case,) = models.run(margin_mm=4).cases
    (only,) = case.rounds
    assert (only.box["start"], only.box["stop"]) == ([1, 15, 14], [11, 49, 56])
    assert only.touched == ()


def test_a_box_that_was_cut_grows_at_the_touched_face_alone_until_the_organ_is_in_it(models):
    models.scan("a", CUT)
    models.scan("b", EVERYWHERE)
    report = models.run(margin_mm=4)
    np.testing.assert_array_equal(models.written("a")[0], organ())
    assert models.calls == [
        ("coarse", ["a", "b"]),
        ("round_0", ["a", "b"]),
        ("round_1", ["a"]),
        ("round_2", ["a"]),
    ]
    first, *_, last = report.cases[0].rounds
    assert first.touched == ("x+",)
    assert last.touched == ()
    assert last.box["start"] == first.box["start"]
    assert last.box["stop"][:2] == first.box["stop"][:2]
    assert last.box["stop"][2] > first.box["stop"][2]
    assert report.cases[0].notes == ("its box grew 2 times",)


def test_what_is_smaller_than_the_organ_moves_no_face(models):
    with_speck = organ()
    with_speck[5:7, 30:33, 53:60] = 1  # at the box's end, which is 56
    models.scan("a", (slice(None), slice(None), slice(0, 52)), with_speck)
    (case,) = models.run(margin_mm=4).cases
    assert [one.touched for one in case.rounds] == [()]
    models.scan("b", (slice(None), slice(None), slice(0, 52)), with_speck)
    _, both = models.run(margin_mm=4, n_components=2).cases
    assert both.rounds[0].touched == ("x+",)


def test_a_box_grows_three_times_at_most_and_says_what_it_still_reaches(models):
    long = np.zeros((12, 60, 400), np.uint8)
    long[3:9, 20:44, 20:390] = 1
    models.scan("a", (slice(None), slice(None), slice(0, 26)), long)
    report = models.run(margin_mm=4)
    assert len(report.cases[0].rounds) == 4
    assert report.cases[0].notes == ("after 3 growths it still reaches x+ of its box",)
    assert report.ok


def test_a_face_at_the_border_of_the_scan_does_not_grow(models):
    models.scan("a", EVERYWHERE, np.ones(SHAPE, np.uint8))
    report = models.run(margin_mm=0)
    assert len(report.cases[0].rounds) == 1
    np.testing.assert_array_equal(models.written("a")[0], np.ones(SHAPE))


def test_an_empty_coarse_result_falls_back_to_the_whole_scan_and_says_so(models):
    models.scan("a", NOWHERE)
    report = models.run(margin_mm=4)
    np.testing.assert_array_equal(models.written("a")[0], organ())
    (case,) = report.cases
    assert "holds nothing" in case.fallback
    assert case.rounds[0].box["share_of_scan"] == 1.0
    assert "the whole scan was predicted" in case.notes[0]


def test_the_largest_component_alone_makes_the_box_unless_more_are_asked_for(models):
    two = organ()
    two[3:9, 20:30, 60:64] = 1
    models.scan("a", EVERYWHERE, two)
    (one,) = models.run(margin_mm=2).cases
    (both,) = models.run(margin_mm=2, n_components=2).cases
    assert one.rounds[0].box["stop"][2] == 53
    assert both.rounds[0].box["stop"][2] == 67


def test_the_region_may_be_of_some_labels(models):
    models.scan("a", EVERYWHERE)
    (case,) = models.run(margin_mm=0, roi_labels=("lesion",)).cases
    assert case.rounds[0].box["start"] == [5, 30, 30]
    with pytest.raises(UsageError, match="the labels are organ, lesion"):
        models.run(roi_labels=("spleen",))


@pytest.mark.parametrize("stage", ["coarse", "round_0"])
def test_a_case_that_fails_in_a_stage_takes_no_other_down(models, stage):
    models.scan("a", EVERYWHERE)
    models.scan("b", EVERYWHERE)
    models.failing = {stage: {"a"}}
    report = models.run(margin_mm=4)
    assert [case.case_id for case in report.failed] == ["a"]
    assert "it broke" in report.failed[0].reason
    assert not (models.root / "out" / "a.nii.gz").exists()
    np.testing.assert_array_equal(models.written("b")[0], organ())


def test_what_was_found_before_a_box_grew_is_kept_where_the_larger_one_fails(models):
    models.scan("a", CUT)
    models.failing = {"round_1": {"a"}}
    report = models.run(margin_mm=4)
    assert report.ok
    assert "the earlier result is kept" in report.cases[0].notes[0]
    assert models.written("a")[0].any()


def test_an_output_of_before_is_named_where_its_case_fails_now(models):
    models.scan("a", EVERYWHERE)
    models.run(margin_mm=4)
    models.failing = {"coarse": {"a"}}
    report = models.run(margin_mm=4)
    assert "is of an earlier run" in report.cases[0].notes[0]


def test_the_margin_is_that_of_the_data_set_the_fine_model_was_trained_on(models):
    models.scan("a", EVERYWHERE)
    assert models.run().settings["boxes"]["margin_mm"] == MARGIN_MM
    path = models.fine / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "roi": {"margin_mm": 7.0}}), encoding="utf-8")
    assert models.run().settings["boxes"]["margin_mm"] == 7.0
    assert models.run(margin_mm=3).settings["boxes"]["margin_mm"] == 3


def test_scans_of_an_earlier_run_are_not_predicted_again_and_none_are_left(models):
    models.scan("a", CUT)
    left = models.root / "out" / "stages" / "round_0" / "scans" / "strange_0000.nii.gz"
    write_image(left, np.zeros((2, 3, 4), np.uint8))
    models.run(margin_mm=4)
    assert ("round_0", ["a"]) in models.calls
    assert not list((models.root / "out").rglob("scans"))


def test_the_report_holds_boxes_costs_and_models(models):
    models.scan("a", CUT)
    report = models.run(margin_mm=4)
    content = json.loads(report.path.read_text(encoding="utf-8"))
    assert content["cost"]["n_cases"] == 1
    assert list(content["stages"]) == ["coarse", "round_0", "round_1", "round_2"]
    assert content["coarse"]["members"]["nnUNetTrainer__nnUNetPlans__3d_lowres"]["model"]["folds"] == ["0"]
    assert content["cases"][0]["rounds"] == [
        {**asdict(one), "touched": list(one.touched)} for one in report.cases[0].rounds
    ]
    assert content["cases"][0]["elapsed_s"] == 4.0


def test_a_damaged_scan_fails_alone(models, monkeypatch):
    models.scan("a", EVERYWHERE)
    models.scan("b", EVERYWHERE)

    def cut(job):
        if job.case_id == "a":
            raise SegmentationError("a cannot be read")
        return original(job)

    original = roi_stages.cut_scan
    monkeypatch.setattr(roi_stages, "cut_scan", cut)
    report = models.run(margin_mm=4)
    assert [case.case_id for case in report.failed] == ["a"]
    monkeypatch.setattr(roi_stages, "cut_scan", lambda job: 1 / 0)
    assert len(models.run(margin_mm=4).failed) == 2


def test_models_are_named_by_folder_or_below_the_results_and_refused_where_they_are_none(models, monkeypatch):
    plan = plan_of_model(str(models.coarse), "--coarse")
    assert plan.members[0].model.configuration == "3d_lowres"
    monkeypatch.setenv("nnUNet_results", str(models.root / "results"))
    below = plan_of_model("Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_lowres", "--coarse")
    assert below.members[0].model.folds == ("0",)
    with pytest.raises(UsageError, match="--fine nowhere is no folder"):
        plan_of_model("nowhere", "--fine")
    with pytest.raises(UsageError, match="not named like a model"):
        plan_of_model(str(models.scans.parent), "--fine")
    (models.coarse / "fold_0" / "checkpoint_final.pth").unlink()
    with pytest.raises(UsageError, match="no fold with a checkpoint_final"):
        plan_of_model(str(models.coarse), "--coarse")


def test_fold_all_is_taken_only_where_it_is_alone(models):
    (models.coarse / "fold_all").mkdir()
    (models.coarse / "fold_all" / "checkpoint_final.pth").write_bytes(b"")
    assert plan_of_model(str(models.coarse), "--coarse").members[0].model.folds == ("0",)
    (models.coarse / "fold_0" / "checkpoint_final.pth").unlink()
    assert plan_of_model(str(models.coarse), "--coarse").members[0].model.folds == ("all",)


def test_a_plan_of_folders_and_models_of_other_files_are_refused(models, tmp_path):
    models.scan("a", EVERYWHERE)
    (tmp_path / "plan.yaml").write_text("members: {folders: [imagesTs]}", encoding="utf-8")
    fine = plan_of_model(str(models.fine), "--fine")
    with pytest.raises(PlanError, match="--coarse: folders are folders of probabilities"):
        run_roi_predict(plan_of_model(str(tmp_path / "plan.yaml"), "--coarse"), fine, models.scans, tmp_path)
    write_dataset_json(models.coarse, ENTRIES, ending=".nrrd")
    with pytest.raises(PlanError, match=r"the coarse model reads \.nrrd, the fine one \.nii\.gz"):
        models.run()


def test_one_stage_and_two_are_compared_in_dice_time_and_memory(models, tmp_path):
    for case in ("a", "b"):
        models.scan(case, CUT)
        write_image(tmp_path / "labelsTs" / f"{case}.nii.gz", organ())
        half = organ()
        half[:, :32] = 0
        write_image(tmp_path / "one" / f"{case}.nii.gz", half)
    cost = {"elapsed_s": 9.0, "peak_memory_bytes": 5 << 20, "peak_gpu_bytes": None, "n_cases": 2}
    (tmp_path / "one" / "predict_report.json").write_text(json.dumps({"cost": cost}), encoding="utf-8")
    models.run(margin_mm=4)
    evaluation = run_roi_evaluation(
        tmp_path / "out",
        tmp_path / "one",
        tmp_path / "labelsTs",
        tmp_path / "compared",
        dataset=models.fine / "dataset.json",
        execution=IN_THIS_PROCESS,
    )
    organ_of_both = evaluation.comparison.labels["organ"]
    assert organ_of_both.mean_b == 1.0
    assert organ_of_both.mean_a == pytest.approx(2 / 3, abs=0.01)
    assert evaluation.costs["one stage"].seconds_a_case == 4.5
    assert evaluation.costs["two stages"].n_cases == 2
    assert (evaluation.n_grown, evaluation.n_fallbacks) == (2, 0)
    content = json.loads((tmp_path / "compared" / "roi_evaluation.json").read_text(encoding="utf-8"))
    assert content["costs"]["one stage"]["peak_memory_bytes"] == 5 << 20


def test_the_verb_prints_dice_and_costs_of_both(models, tmp_path, capsys):
    from nnunet_ext.cli.main import main

    models.scan("a", CUT)
    write_image(tmp_path / "labelsTs" / "a.nii.gz", organ())
    write_image(tmp_path / "one" / "a.nii.gz", organ())
    stages = ["--coarse", str(models.coarse), "--fine", str(models.fine), "--margin", "4"]
    assert main(["roi", "predict", "-i", str(models.scans), "-o", str(tmp_path / "out"), *stages]) == 0
    printed = capsys.readouterr()
    assert "1 of 1 cases written" in printed.out
    assert "note: a: its box grew 2 times" in printed.err
    what = ["-i", "out", "--one_stage", "one", "-r", "labelsTs", "-o", "compared"]
    folders = [str(tmp_path / text) if not text.startswith("-") else text for text in what]
    dataset = ["-d", str(models.fine / "dataset.json"), "-np", "0"]
    assert main(["roi", "evaluate", *folders, *dataset]) == 0
    printed = capsys.readouterr().out
    assert "one stage  no report beside the predictions" in printed
    assert "two stages: the box of 1 cases grew" in printed
