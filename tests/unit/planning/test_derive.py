"""Derived configurations: what stands in them, what is refused, and the command."""

import json

import pytest

from nnunet_ext.cli import plans as verb
from nnunet_ext.cli.main import main
from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.nnunet.plans import Plans, configuration_differences, find_plans, needed_trainer, read_plans
from nnunet_ext.planning.derive import Changes, default_name, derive, divisors

ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 3,
        "features_per_stage": [8, 16, 32],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "dropout_op": None,
    },
    "_kw_requires_import": ["dropout_op"],
}
CONTENT = {
    "plans_name": "nnUNetPlans",
    "configurations": {
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "batch_size": 2,
            "patch_size": [8, 16, 20],
            "spacing": [3.0, 0.8, 0.8],
            "median_image_size_in_voxels": [10.0, 20.0, 24.0],
            "normalization_schemes": ["CTNormalization"],
            "architecture": ARCHITECTURE,
        },
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    },
}


@pytest.fixture
def plans(tmp_path):
    path = tmp_path / "nnUNetPlans.json"
    path.write_text(json.dumps(CONTENT), encoding="utf-8")
    return read_plans(path)


def test_a_derived_configuration_holds_only_what_differs(plans):
    derived = derive(plans, "3d_fullres", Changes(batch_size=4))
    assert derived.name == "3d_fullres_bs4"
    assert derived.entry == {"inherits_from": "3d_fullres", "batch_size": 4}
    assert derived.resolved["data_identifier"] == "nnUNetPlans_3d_fullres"
    assert not derived.needs_preprocessing


def test_another_spacing_has_data_and_a_median_size_of_its_own(plans):
    derived = derive(plans, "3d_fullres", Changes(spacing=(3.0, 1.6, 0.4)), "coarse")
    assert derived.needs_preprocessing
    assert derived.entry["data_identifier"] == "nnUNetPlans_coarse"
    assert derived.entry["median_image_size_in_voxels"] == [10.0, 10.0, 48.0]


def test_an_argument_of_the_network_brings_the_whole_architecture_with_it(plans):
    derived = derive(plans, "3d_fullres", Changes(network={"features_per_stage": [4, 8, 16]}))
    kwargs = derived.entry["architecture"]["arch_kwargs"]
    assert kwargs == ARCHITECTURE["arch_kwargs"] | {"features_per_stage": [4, 8, 16]}
    assert plans.resolve("3d_fullres")["architecture"] == ARCHITECTURE  # the parent is as it was


def test_it_inherits_through_a_parent_that_inherits(plans):
    derived = derive(plans, "3d_cascade_fullres", Changes(batch_size=3))
    assert derived.resolved["patch_size"] == [8, 16, 20]
    assert any("3d_lowres" in note for note in derived.notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(batch_size=0), "batch size 0"),
        (Changes(patch_size=(8, 18, 20)), "18 of axis 1 is not divisible by 4, its strides: take 16 or 20"),
        (Changes(patch_size=(8, 16)), "must be 3 numbers"),
        (Changes(spacing=(1.0, -1.0, 1.0)), "above 0"),
        (Changes(spacing=(1.0, 1.0)), "must be 3 sizes"),
        (Changes(network={"feature_per_stage": [1]}), "no argument 'feature_per_stage'; it has n_stages"),
        (
            Changes(network={"features_per_stage": [4, 8]}),
            "features_per_stage has 2 entries; 3 stages want 3",
        ),
        (Changes(network={"n_conv_per_stage_decoder": [2, 2, 2]}), "3 stages want 2"),
        (Changes(network={"strides": [[1, 1], [2, 2], [2, 2]]}), "must have 3 numbers each"),
    ],
)
def test_what_cannot_be_is_refused_with_the_values_seen(plans, changes, said):
    with pytest.raises(UsageError, match=said):
        derive(plans, "3d_fullres", changes)


def test_all_faults_are_told_at_once(plans):
    with pytest.raises(UsageError, match=r"(?s)name.*batch size.*patch size"):
        derive(plans, "3d_fullres", Changes(batch_size=-1, patch_size=(7, 16, 20)), "a__b")


def test_a_parent_that_is_not_there_is_answered_with_those_that_are(plans):
    with pytest.raises(UsageError, match="it has 3d_fullres, 3d_cascade_fullres"):
        derive(plans, "2d", Changes(batch_size=4))


def test_inheritance_in_a_circle_is_refused(tmp_path):
    content = {"configurations": {"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}}
    with pytest.raises(UsageError, match="a inherits from b inherits from a, in a circle"):
        Plans(tmp_path, content).resolve("a")


def test_names_tell_the_changes():
    changes = Changes(4, (96, 128, 128), (2.0, 0.8, 0.8), {"n_stages": 5})
    assert default_name("3d_fullres", changes) == "3d_fullres_bs4_ps96x128x128_sp2x0p8x0p8_net"


def test_a_patch_is_divided_by_all_strides_of_its_axis():
    assert divisors([[1, 1, 1], [1, 2, 2], 2], 3) == (2, 4, 4)


def test_differences_are_told_by_dotted_names(plans):
    derived = derive(plans, "3d_fullres", Changes(batch_size=4, network={"features_per_stage": [4, 8, 16]}))
    assert configuration_differences(plans.resolve("3d_fullres"), derived.resolved) == [
        ("batch_size", "2", "4"),
        ("architecture.arch_kwargs.features_per_stage", "[8, 16, 32]", "[4, 8, 16]"),
    ]


def test_other_json_files_are_no_plans(plans):
    (plans.path.parent / "splits_final.json").write_text("[]", encoding="utf-8")
    assert [found.name for found in find_plans(plans.path.parent)[0]] == ["nnUNetPlans"]
    with pytest.raises(DatasetError, match="holds no plans"):
        read_plans(plans.path.parent / "splits_final.json")
    with pytest.raises(UsageError, match="plans there: nnUNetPlans"):
        read_plans(plans.path.parent / "otherPlans.json")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "preprocessed" / "Dataset008_Plans"
    (folder / "nnUNetPlans_3d_fullres").mkdir(parents=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(CONTENT), encoding="utf-8")
    for part in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{part}", str(tmp_path / part))
    monkeypatch.setattr(verb, "_print_memory", lambda *_: None)  # it imports torch
    return folder


def test_the_command_lists_derives_compares_and_refuses(folder, capsys):
    command = ["plans", "-d", "8"]
    assert main(command) == 0
    assert "3d_cascade_fullres" in capsys.readouterr().out
    assert main([*command, "--batch_size", "4", "--dry_run"]) == 0
    assert json.loads((folder / "nnUNetPlans.json").read_text()) == CONTENT
    assert main([*command, "--batch_size", "4"]) == 0
    out = capsys.readouterr().out
    assert "batch_size: 2 -> 4" in out and "nnUNetv2_train 8 3d_fullres_bs4 0" in out
    assert "nnunet_ext preprocess" not in out
    written = json.loads((folder / "nnUNetPlans.json").read_text())
    assert written["configurations"].pop("3d_fullres_bs4") == {"inherits_from": "3d_fullres", "batch_size": 4}
    assert written == CONTENT
    assert main([*command, "--batch_size", "4"]) == 0  # the same once more is no conflict
    assert main([*command, "--batch_size", "6", "--name", "3d_fullres_bs4"]) == 2
    assert "that differs" in capsys.readouterr().err
    assert main([*command, "--diff", "3d_fullres", "nnUNetPlans:3d_fullres_bs4"]) == 0
    assert "batch_size" in capsys.readouterr().out
    assert main([*command, "--spacing", "3", "1", "1", "--network", "features_per_stage=[4, 8, 16]"]) == 0
    assert "nnunet_ext preprocess -d 8 -c 3d_fullres_sp3x1x1_net" in capsys.readouterr().out
    assert main([*command, "--network", "features_per_stage"]) == 2


@pytest.fixture
def listed(tmp_path, monkeypatch):
    home = tmp_path / "Dataset007_X"
    home.mkdir()
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    monkeypatch.setattr(verb, "_print_memory", lambda *_: None)  # it imports torch
    (home / "nnUNetPlans.json").write_text(json.dumps(CONTENT), encoding="utf-8")
    return home


def test_bad_plans_and_configurations_do_not_end_the_listing(listed, capsys):
    configurations = {"odd": {"inherits_from": "3d_fulres"}, "fine": {}}
    content = {"plans_name": "badPlans", "configurations": configurations}
    (listed / "badPlans.json").write_text(json.dumps(content), encoding="utf-8")
    flat = {"configurations": {"flat": {"patch_size": 3}}}
    (listed / "flatPlans.json").write_text(json.dumps(flat), encoding="utf-8")
    (listed / "cutPlans.json").write_text("{", encoding="utf-8")
    assert main(["plans", "-d", "7"]) == 1
    shown = capsys.readouterr()
    assert "fine" in shown.out and "3d_cascade_fullres" in shown.out
    assert "configuration 'odd' inherits from '3d_fulres', which is not there" in shown.out
    assert "configurations.flat.patch_size: Input should be a valid list; found 3" in shown.out
    assert "cutPlans.json holds no plans" in shown.out and "cannot be read as JSON" in shown.out


def test_plans_are_called_by_their_files_name(listed, capsys):
    (listed / "copyPlans.json").write_text(json.dumps(CONTENT), encoding="utf-8")
    assert main(["plans", "-d", "7"]) == 0
    assert "the plans_name in " in capsys.readouterr().err
    assert main(["plans", "-d", "7", "-p", "copyPlans", "--spacing", "3", "1", "1", "--name", "wide"]) == 0
    entry = json.loads((listed / "copyPlans.json").read_text(encoding="utf-8"))["configurations"]["wide"]
    assert entry["data_identifier"] == "copyPlans_wide"
    assert "-c wide -p copyPlans" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("supervision", "trainer"), [("nested", "nnUNetTrainerUNetPlusPlus"), ("pyramid", None), (None, None)]
)
def test_the_command_names_the_trainer_that_the_network_needs(listed, capsys, supervision, trainer):
    content = json.loads(json.dumps(CONTENT))
    if supervision:
        architecture = content["configurations"]["3d_fullres"]["architecture"]
        architecture["network_class_name"] = "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus"
        architecture["arch_kwargs"]["supervision"] = supervision
    (listed / "nnUNetPlans.json").write_text(json.dumps(content), encoding="utf-8")
    assert needed_trainer(content["configurations"]["3d_fullres"]) == trainer
    assert main(["plans", "-d", "7", "--batch_size", "4", "--dry_run"]) == 0
    command = "nnUNetv2_train 7 3d_fullres_bs4 0" + (f" -tr {trainer}" if trainer else "")
    assert command in capsys.readouterr().out.splitlines()[-1]
