"""The trainer of UNet++, on plans for a plain U-Net and on plans of its own."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

UNETPP = "nnUNetTrainerUNetPlusPlus"
NESTED = "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus"


@pytest.fixture
def short(lab):
    lab.variables(n_epochs=2, n_iterations=2)
    return lab


def plans_named(preprocessed, name, **arch_kwargs):
    """Plans whose network is a UNet++ with these arguments beside the plain U-Net's."""
    folder = preprocessed / "Dataset901_Tiny"
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    architecture = plans["configurations"]["2d"]["architecture"]
    architecture["network_class_name"] = NESTED
    architecture["arch_kwargs"] |= arch_kwargs
    (folder / f"{name}.json").write_text(json.dumps(plans | {"plans_name": name}))
    return name


def test_plans_for_a_plain_unet_train_its_nested_counterpart_and_say_so(short, read):
    trainer = short.train(UNETPP)
    assert type(trainer.network).__name__ == "UNetPlusPlus"
    assert "These plans were made for PlainConvUNet" in short.log(UNETPP)
    weights = read(short.fold(UNETPP) / "checkpoint_final.pth")["network_weights"]
    assert {name.split(".")[2] for name in weights if name.startswith("decoder.seg_layers")} == {"1", "2"}


def test_all_heads_are_trained_alike_against_one_target(short):
    trainer = short.train(UNETPP)
    batch = next(trainer.dataloader_train)
    assert [tuple(target.shape) for target in batch["target"]] == [(2, 1, 16, 16)]
    trainer.train_step(batch)
    gradients = [head.weight.grad.abs().max() for head in trainer.network.decoder.seg_layers.values()]
    assert len(gradients) == 2
    assert all(gradient > 0 for gradient in gradients)


def test_the_loss_is_the_mean_of_the_heads_own():
    import torch

    from nnunet_ext.trainers.unet_plus_plus import NestedSupervision

    outputs = [torch.tensor([1.0]), torch.tensor([4.0])]
    assert NestedSupervision(torch.nn.L1Loss())(outputs, [torch.tensor([2.0])]) == 1.5


def test_the_pyramid_is_supervised_as_nnunet_does(short, preprocessed):
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

    plans = plans_named(preprocessed, "nnUNetPyramidPlans", supervision="pyramid")
    trainer = short.train(UNETPP, plans_identifier=plans)
    assert isinstance(trainer.loss, DeepSupervisionWrapper)
    shapes = [tuple(target.shape[2:]) for target in next(trainer.dataloader_train)["target"]]
    assert shapes == [(16, 16), (8, 8)]
    assert "were made for" not in short.log(UNETPP)


def test_another_loss_and_settings_in_the_name_go_with_it(short):
    name = f"{UNETPP}_ep1_dicefocal_adamw"
    short.variables(n_epochs=None)
    trainer = short.train(name)
    assert trainer.current_epoch == 1
    assert type(trainer.loss).__name__ == "NestedSupervision"
    assert type(trainer.optimizer).__name__ == "AdamW"


@pytest.fixture
def predictor(short, monkeypatch):
    """Makes nnU-Net's predictor of a trained UNet++ with these variables."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunet_ext.nnunet.folders import discovery_folder

    short.train(UNETPP)
    monkeypatch.setenv("nnUNet_extTrainer", str(discovery_folder()))

    def make(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"nnUNet_{name}", value)
        predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
        model = str(short.fold(UNETPP).parent)
        predictor.initialize_from_trained_model_folder(model, (0,), "checkpoint_final.pth")
        return predictor.network.decoder

    return make


def test_prediction_takes_the_deepest_branch_unless_told_otherwise(predictor):
    assert (predictor().depth, predictor().mode) == (2, "branch")
    assert predictor(unetpp_depth="1").depth == 1
    assert predictor(unetpp_mode="mean").mode == "mean"


@pytest.mark.parametrize("variable", [{"unetpp_depth": "3"}, {"unetpp_depth": "x"}, {"unetpp_mode": "max"}])
def test_a_branch_that_is_not_there_ends_prediction_with_the_ones_that_are(predictor, variable, capsys):
    with pytest.raises(SystemExit) as ended:
        predictor(**variable)
    assert ended.value.code == 2
    ((name, value),) = variable.items()
    assert f"SettingsError: nnUNet_{name} is {value!r}: " in capsys.readouterr().err


def test_the_variables_of_prediction_change_no_training(short, monkeypatch):
    monkeypatch.setenv("nnUNet_unetpp_depth", "1")
    trainer = short.train(UNETPP)
    assert trainer.network.decoder.depth == 2
    assert "nnUNet_unetpp_depth" in os.environ
    assert not trainer.resolved.notes


def test_an_encoder_that_is_none_of_ours_is_refused():
    from nnunet_ext.errors import SettingsError
    from nnunet_ext.networks.architecture import Architecture

    configuration = SimpleNamespace(
        network_arch_class_name="somewhere.Transformer",
        network_arch_init_kwargs={},
        network_arch_init_kwargs_req_import=[],
    )
    with pytest.raises(SettingsError, match=r"Transformer: a UNet\+\+ can take the place of PlainConvUNet"):
        Architecture.of(configuration).nested()
