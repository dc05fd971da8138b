import json
import shutil
import zipfile

import pytest
import warm

from nnunet_ext.demo.dataset import CONFIGURATIONS, DemoFolder, cases_to_predict
from nnunet_ext.demo.pipeline import run_demo
from nnunet_ext.demo.progress import LineProgress
from nnunet_ext.demo.steps import DemoTraining

pytestmark = pytest.mark.slow
TINY = DemoTraining(n_epochs=1, n_iterations=2, device="cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The demo's folder; its commands take less time than a user's."""
    with warm.children(warm.UNMIRRORED):
        yield tmp_path_factory.mktemp("demo with a space") / "demo"


@pytest.fixture(scope="module")
def report(root):
    return run_demo(root, TINY, LineProgress())


def test_the_demo_ends_with_a_whole_submission_and_a_picture(report):
    assert report.reused == ()
    with zipfile.ZipFile(report.zip_path) as archive:
        assert sorted(archive.namelist()) == [f"{case}.nii.gz" for case in cases_to_predict()]
    assert report.picture.read_bytes().startswith(b"\x89PNG")


def test_every_member_and_the_ensemble_are_compared_with_the_references(report):
    assert list(report.dice) == [*CONFIGURATIONS, "ensemble"]
    for summaries in report.dice.values():
        assert {name: summary.n_holding for name, summary in summaries.items()} == {
            "myocardium": 4,
            "left_ventricle": 4,
            "right_ventricle": 2,
        }


def test_all_three_configurations_are_planned(report, root):
    plans = json.loads(next(DemoFolder(root).preprocessed.glob("*Plans.json")).read_text(encoding="utf-8"))
    assert set(CONFIGURATIONS) <= set(plans["configurations"])


def test_a_second_run_trains_and_predicts_nothing(report, root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.pth")}
    again = run_demo(root, TINY, LineProgress())
    assert len(again.reused) == 14
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.pth")} == before
    assert again.dice == report.dice
    assert again.zip_path.is_file()


def test_a_training_killed_before_its_validation_is_ended(report, root):
    folder = DemoFolder(root)
    (folder.fold("2d", 0) / "validation" / "summary.json").unlink()
    again = run_demo(root, TINY, LineProgress())
    assert len(again.reused) == 13
    assert "--c" in folder.log("train 2d, fold 0").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.exhaustive
def test_commands_run_as_a_users_train_and_predict_what_is_missing(report, root):
    folder = DemoFolder(root)
    (folder.fold("2d", 0) / "checkpoint_final.pth").unlink()
    shutil.rmtree(folder.prediction("2d", 0))
    with warm.fresh_processes():
        again = run_demo(root, TINY, LineProgress())
    assert len(again.reused) == 12
    assert (folder.fold("2d", 0) / "checkpoint_final.pth").is_file()
    for case in cases_to_predict():
        assert (folder.prediction("2d", 0) / f"{case}.npz").is_file()
    assert again.zip_path.is_file()
