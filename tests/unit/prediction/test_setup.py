import json
from pathlib import Path

import numpy as np
import pytest
from factories import labels

from nnunet_ext.ensemble.plan import Member, Plan
from nnunet_ext.errors import PlanError
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.model_folder import ModelFiles, TrainedModel
from nnunet_ext.postprocess.steps import KeepLargest
from nnunet_ext.prediction.setup import make_setup, plan_digest

DATA = Dataset(labels({"background": 0, "liver": 1}), ".nii.gz")


@pytest.fixture
def models(tmp_path):
    """A low resolution, the cascade that begins with it, and a model that stands alone."""

    def model(
        configuration: str, previous: str | None = None, fold_mean: str = "probabilities"
    ) -> ModelFiles:
        folder = tmp_path / "Dataset001_Liver" / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        for fold in "01":
            (folder / f"fold_{fold}").mkdir(parents=True)
            (folder / f"fold_{fold}" / "checkpoint_final.pth").write_text(f"{configuration} {fold}")
        entry = {"previous_stage": previous} if previous else {}
        (folder / "plans.json").write_text(json.dumps({"configurations": {configuration: entry}}))
        trained = TrainedModel(
            dataset="1", configuration=configuration, folds=("0", "1"), fold_mean=fold_mean
        )
        return ModelFiles(trained, folder)

    return {
        "low": model("3d_lowres"),
        "cascade": model("3d_cascade_fullres", "3d_lowres"),
        "full": model("3d_fullres", fold_mean="logits"),
    }


def plan(models, names, fold_weights=(1.0, 3.0)):
    members = (
        Member(name=name, folders=(), folder_weights=fold_weights, model=models[name].model) for name in names
    )
    return Plan(members=tuple(members))


def test_a_cascade_runs_after_its_previous_stage_which_needs_no_weight(models):
    weights = np.array([[1.0, 1.0], [0.0, 0.0]])
    setup = make_setup(plan(models, ["cascade", "low"]), models, weights, device="cpu")
    assert [files.model.configuration for files in setup.models] == ["3d_lowres", "3d_cascade_fullres"]
    assert setup.previous == (None, 0)
    assert setup.weights == ((0.0, 0.0), (1.0, 1.0))


def test_a_member_without_weight_that_no_cascade_needs_is_left_out(models):
    weights = np.array([[1.0, 1.0], [0.0, 0.0]])
    setup = make_setup(plan(models, ["full", "low"]), models, weights, device=None)
    assert [files.model.configuration for files in setup.models] == ["3d_fullres"]


def test_a_cascade_without_its_previous_stage_is_refused(models):
    alone = {"cascade": models["cascade"]}
    with pytest.raises(PlanError, match="begins with segmentations of 3d_lowres"):
        make_setup(plan(models, ["cascade"]), alone, np.ones((1, 2)), device=None)


def test_passes_are_folds_with_their_share_and_a_single_one_where_logits_are_averaged(models):
    weights = np.array([[0.5, 1.0], [0.5, 0.0]])
    setup = make_setup(plan(models, ["low", "full"]), models, weights, device=None)
    assert setup.weights_of_passes() == [(0, (0.125, 0.25)), (0, (0.375, 0.75)), (1, (0.5, 0.0))]


def test_the_digest_changes_with_a_checkpoint_the_steps_and_the_type_and_with_nothing_else(models):
    def digest(steps=(), wide=False, device=None):
        setup = make_setup(plan(models, ["low"]), models, np.ones((1, 2)), device=device)
        return plan_digest(setup, DATA, steps, wide=wide)

    first = digest()
    assert digest(device="cuda") == first
    assert len({first, digest(steps=(KeepLargest(((1,),)),)), digest(wide=True)}) == 3
    Path(models["low"].folder, "fold_1", "checkpoint_final.pth").write_text("trained on")
    assert digest() != first
