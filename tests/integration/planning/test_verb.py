"""`nnunet_ext plan`."""

from __future__ import annotations

import json

from nnunet_ext.cli.main import main

HIPPOCAMPUS = ((1, 1, 1), (36, 50, 35))
PLANS = "nnUNetUNetPlusPlusPlans"


def test_the_table_says_what_was_planned_and_what_is_to_be_done(folders, capsys):
    name = folders.dataset(*HIPPOCAMPUS, n_cases=260)
    assert main(["plan", "-d", "7", "-pl", "UNetPlusPlusPlanner"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: " ".join(line.split()) for line in out.splitlines()}
    assert lines["3d_fullres"] == "3d_fullres 40 x 56 x 40 9 4 1 x 1 x 1 2.2 nnUNetPlans_3d_fullres no"
    assert f"plans: {folders.preprocessed(name) / PLANS}.json" in out
    assert f"nnunet_ext preprocess -d 7 -p {PLANS} -c 2d 3d_fullres" in out
    assert "2D U-Net configuration" not in out


def test_a_cascade_is_planned_and_preprocessed_once(folders, capsys):
    folders.dataset((1, 0.77, 0.77), (432, 512, 512))
    assert main(["plan", "-d", "7"]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[0] for line in out.splitlines()[2:6]]
    assert rows == ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    assert f"{PLANS}_3d_lowres" in out
    assert out.rstrip().endswith("-c 2d 3d_lowres 3d_fullres")


def test_older_plans_are_set_aside_unless_they_are_the_same(folders, capsys):
    name = folders.dataset(*HIPPOCAMPUS)
    folder = folders.preprocessed(name)
    assert main(["plan", "-d", name]) == 0
    before = (folder / f"{PLANS}.json").read_bytes()
    assert main(["plan", "-d", name]) == 0
    assert "_old1" not in capsys.readouterr().out
    assert main(["plan", "-d", name, "-max_stages", "3"]) == 0
    assert f"are kept as {PLANS}_old1.json" in capsys.readouterr().out
    assert (folder / f"{PLANS}_old1.json").read_bytes() == before
    assert sorted(path.name for path in folder.glob("*Plans*")) == [f"{PLANS}.json", f"{PLANS}_old1.json"]


def test_a_configuration_made_by_hand_stays_in_the_file(folders, capsys):
    name = folders.dataset(*HIPPOCAMPUS)
    path = folders.preprocessed(name) / f"{PLANS}.json"
    assert main(["plan", "-d", name]) == 0
    plans = json.loads(path.read_text(encoding="utf-8"))
    plans["configurations"]["3d_large"] = {"inherits_from": "3d_fullres", "batch_size": 16}
    path.write_text(json.dumps(plans), encoding="utf-8")
    assert main(["plan", "-d", name, "-supervision", "pyramid"]) == 0
    assert "Kept in the file, but not planned now: 3d_large" in capsys.readouterr().out
    plans = json.loads(path.read_text(encoding="utf-8"))
    assert plans["configurations"]["3d_large"]["batch_size"] == 16
    assert plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["supervision"] == "pyramid"


def test_options_reach_the_planner(folders):
    name = folders.dataset(*HIPPOCAMPUS)
    spacing = ["-overwrite_target_spacing", "2", "1", "1"]
    options = ["-gpu_memory_target", "2", "-max_stages", "3", "-overwrite_plans_name", "Coarse", *spacing]
    assert main(["plan", "-d", name, "-pl", "ResEncUNetPlusPlusPlanner", *options]) == 0
    plans = json.loads((folders.preprocessed(name) / "Coarse.json").read_text(encoding="utf-8"))
    planned = plans["configurations"]["3d_fullres"]
    assert planned["spacing"] == [2.0, 1.0, 1.0]
    assert planned["data_identifier"] == "Coarse_3d_fullres"
    assert planned["architecture"]["arch_kwargs"]["n_stages"] == 3
    assert planned["architecture"]["network_class_name"].endswith(".ResidualEncoderUNetPlusPlus")


def test_a_data_set_that_cannot_be_planned_leaves_the_others_to_be(folders, capsys):
    folders.dataset(*HIPPOCAMPUS, number=3, fingerprint=False)
    name = folders.dataset(*HIPPOCAMPUS, number=4)
    assert main(["plan", "-d", "3", "99", "4"]) == 2
    told = capsys.readouterr().out
    assert "FAILED 3: DatasetError: Dataset003_Claimed has no fingerprint" in told
    assert "nnUNetv2_extract_fingerprint -d 3" in told
    assert "FAILED 99: UsageError" in told
    assert (folders.preprocessed(name) / f"{PLANS}.json").is_file()


def test_folders_that_are_not_set_are_wrong_usage(monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.setenv("nnUNet_preprocessed", "")
    assert main(["plan", "-d", "3"]) == 2
    assert "Not set: nnUNet_raw, nnUNet_preprocessed." in capsys.readouterr().err


def test_damaged_plans_of_nnunet_stop_the_planning_before_anything_is_written(folders, capsys):
    name = folders.dataset(*HIPPOCAMPUS)
    folder = folders.preprocessed(name)
    (folder / "nnUNetPlans.json").write_text("{", encoding="utf-8")
    assert main(["plan", "-d", name]) == 1
    assert "nnUNetPlans.json holds no plans" in capsys.readouterr().out
    assert not (folder / f"{PLANS}.json").exists()
