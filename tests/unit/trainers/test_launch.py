"""`nnunet_ext train`: what it resolves, shows and refuses, without torch."""

import pytest

from nnunet_ext.cli.main import main
from nnunet_ext.errors import SettingsError, UsageError
from nnunet_ext.trainers.launch import RANK_VARIABLES, is_one_of_several, resolve_launch
from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.variables import PREFIX

RECIPE = "nnUNetTrainerExt_ep300_pat50_adamw"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ExtSettings.model_fields:
        monkeypatch.delenv(PREFIX + name, raising=False)


def shown(capsys, *arguments):
    assert main(["train", "--show", *arguments]) == 0
    trainer, *lines = capsys.readouterr().out.splitlines()
    return trainer, lines


def test_show_prints_every_setting_with_where_it_came_from(capsys, monkeypatch, tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("min_epochs: 7", encoding="utf-8")
    monkeypatch.setenv("nnUNet_ext_config", str(config))
    monkeypatch.setenv("nnUNet_accumulate", "4")
    monkeypatch.setenv("nnUNet_clip_norm", "3")
    trainer, lines = shown(capsys, "-tr", RECIPE, "-schedule", "cosine", "-clip_norm", "1")
    assert trainer == RECIPE
    assert len([line for line in lines if not line.startswith("Note: ")]) == len(ExtSettings.model_fields)
    for line in (
        "n_epochs = 300 (trainer's name)",
        "optimizer = adamw (trainer's name)",
        "schedule = cosine (option -schedule)",
        "clip_norm = 1.0 (option -clip_norm)",
        "accumulate = 4 (environment nnUNet_accumulate)",
        f"min_epochs = 7 (file {config})",
        "loss = dice_ce (default)",
    ):
        assert line in lines


@pytest.mark.parametrize("trainer", ["nnUNetTrainerCustomEpochs", "nnUNetTrainerEarlyStopping"])
def test_the_other_trainers_have_their_own_settings(capsys, trainer):
    _, lines = shown(capsys, "-tr", trainer, "-n_epochs", "3", "-loss", "focal")
    assert lines[0] == "n_epochs = 3 (option -n_epochs)"
    note = "Note: nnUNet_loss is set, but only nnUNetTrainerExt and nnUNetTrainerUNetPlusPlus read it."
    assert note in lines


def test_every_setting_is_an_option_with_its_range_and_default(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    about = "epochs of the whole training; a whole number, at least 1; ep… in a trainer's name"
    assert f"-n_epochs VALUE {about} (default: 1000)" in text
    assert all(f" -{name} VALUE" in text for name in ExtSettings.model_fields)


def test_an_option_that_contradicts_the_name_is_refused(capsys):
    assert main(["train", "--show", "-tr", RECIPE, "-n_epochs", "80"]) == 2
    assert "n_epochs is 300 in the trainer's name, but nnUNet_n_epochs is '80'" in capsys.readouterr().err


def test_a_wrong_value_or_code_is_refused_before_anything_is_imported(capsys):
    assert main(["train", "-d", "1", "-c", "2d", "-f", "0", "-optimizer", "adamww"]) == 2
    assert "allowed is one of sgd, " in capsys.readouterr().err
    assert main(["train", "-d", "1", "-c", "2d", "-f", "0", "-tr", "nnUNetTrainerExt_epp3"]) == 2
    assert "'epp3' is no code of a setting" in capsys.readouterr().err


def test_trainers_of_others_are_refused_with_ours():
    with pytest.raises(UsageError, match=r"none of nnUNetTrainerCustomEpochs, .* with nnUNetv2_train"):
        resolve_launch("nnUNetTrainer", {})
    with pytest.raises(SettingsError):
        resolve_launch("nnUNetTrainerExt_x", {})


@pytest.mark.parametrize("options", [("-d", "1"), ("-d", "1", "-c", "2d")])
def test_what_a_training_needs_must_be_given(capsys, options):
    assert main(["train", *options]) == 2
    assert "-f must be given to train" in capsys.readouterr().err


def test_continuing_and_validating_exclude_each_other(capsys):
    assert main(["train", "-d", "1", "-c", "2d", "-f", "0", "--c", "--val"]) == 2
    assert "--c and --val exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize("fold", ["one", "-1", "0,1", ""])
def test_a_fold_is_a_number_or_all(capsys, fold):
    assert main(["train", "-d", "1", "-c", "2d", f"-f={fold}"]) == 2
    assert "is neither a number nor all" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-num_gpus", "0"), "-num_gpus is 0"),
        (("-num_gpus", "2", "-device", "cpu"), "-num_gpus is 2 and -device cpu"),
        (("-amp", "fp16", "-device", "cpu"), "amp is fp16, but -device is cpu"),
    ],
)
def test_what_no_machine_can_do_is_refused_before_anything_is_imported(capsys, options, said):
    assert main(["train", "-d", "1", "-c", "2d", "-f", "0", *options]) == 2
    assert said in capsys.readouterr().err


def test_torchrun_is_known_by_all_of_its_variables():
    rank = dict.fromkeys(RANK_VARIABLES, "1")
    assert is_one_of_several(rank)
    assert not is_one_of_several({"RANK": "0", "WORLD_SIZE": "1"})
