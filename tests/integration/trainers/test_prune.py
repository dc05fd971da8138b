"""A trained UNet++ cut down to a branch, and its branches compared."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from nnunet_ext.cli.main import main
from nnunet_ext.errors import DatasetError, NnunetExtError, UsageError
from nnunet_ext.nnunet.folders import discovery_folder

UNETPP = "nnUNetTrainerUNetPlusPlus"
FINAL = "checkpoint_final.pth"
CASE = "tiny_003"
AXES = (0, 1)


@pytest.fixture
def model(unetpp, tmp_path):
    """The trained model in a folder of its own, to change."""
    return shutil.copytree(unetpp, tmp_path / "Dataset901_Tiny" / unetpp.name)


@pytest.fixture
def data(preprocessed, tmp_path, monkeypatch):
    """nnU-Net's preprocessed data, to change; the variable names it."""
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    return shutil.copytree(preprocessed / "Dataset901_Tiny", tmp_path / "preprocessed" / "Dataset901_Tiny")


@pytest.fixture
def predictor(monkeypatch):
    """Makes nnU-Net's predictor of a model's folder, with our trainers found or not."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    def make(folder, *, registered=False, **variables):
        monkeypatch.delenv("nnUNet_extTrainer", raising=False)
        if registered:
            monkeypatch.setenv("nnUNet_extTrainer", str(discovery_folder()))
        for name, value in variables.items():
            monkeypatch.setenv(f"nnUNet_{name}", value)
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), (0,), FINAL)
        for name in variables:
            monkeypatch.delenv(f"nnUNet_{name}")
        return predictor

    return make


def change(path, **entries):
    """Write a checkpoint anew with other entries."""
    from nnunet_ext.networks.checkpoint_file import read_checkpoint, write_checkpoint

    write_checkpoint(read_checkpoint(path) | entries, path)


def export(folder, depth, target, **options):
    from nnunet_ext.pruning.export import export_branch
    from nnunet_ext.pruning.model import find_unet_plus_plus

    return export_branch(find_unet_plus_plus(folder, **options), depth, target)


def compare(folder, **options):
    from nnunet_ext.pruning.compare import compare_branches
    from nnunet_ext.pruning.model import find_unet_plus_plus

    return compare_branches(find_unet_plus_plus(folder), "cpu", **options)


@pytest.mark.parametrize("depth", [1, 2])
def test_an_export_predicts_what_the_branch_does_where_our_trainers_are_unknown(
    unetpp, tmp_path, predictor, depth
):
    import torch

    export(unetpp, depth, tmp_path / "out")
    whole = predictor(unetpp, registered=True, unetpp_depth=str(depth))
    pruned = predictor(tmp_path / "out")
    assert pruned.allowed_mirroring_axes == whole.allowed_mirroring_axes == AXES
    scan = torch.randn(1, 2, 24, 20, generator=torch.Generator().manual_seed(1))
    expected, found = (one.predict_sliding_window_return_logits(scan) for one in (whole, pruned))
    assert torch.equal(expected, found)
    assert len(pruned.network.encoder.stages) == depth + 1


def test_an_export_holds_what_prediction_needs_and_whence_it_came(unetpp, tmp_path, read):
    from nnunet_ext.files.whole import sha256_of

    (path,) = export(unetpp, 1, tmp_path / "new" / "out")
    assert sorted(one.name for one in path.parents[1].iterdir()) == [
        "dataset.json",
        "dataset_fingerprint.json",
        "fold_0",
        "plans.json",
    ]
    content = read(path)
    assert content["trainer_name"] == "nnUNetTrainer"
    assert "optimizer_state" not in content
    source = unetpp / "fold_0" / FINAL
    assert content["nnunet_ext"]["pruned"] == {
        "depth": 1,
        "of": f"Dataset901_Tiny/{unetpp.name}/fold_0/{FINAL}",
        "sha256": sha256_of(source),
    }
    plans = json.loads((path.parents[1] / "plans.json").read_text(encoding="utf-8"))
    assert content["init_args"]["plans"] == plans
    architecture = plans["configurations"]["2d"]["architecture"]
    assert architecture["network_class_name"] == "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus"
    assert architecture["arch_kwargs"]["features_per_stage"] == [4, 8]
    before = json.loads((unetpp / "plans.json").read_text(encoding="utf-8"))
    assert before["configurations"]["2d"]["architecture"]["arch_kwargs"]["features_per_stage"] == [4, 8, 8]


def test_every_fold_that_has_the_checkpoint_is_exported_unless_some_are_chosen(model, tmp_path):
    for fold in ("fold_3", "fold_all"):
        shutil.copytree(model / "fold_0", model / fold)
    (model / "fold_4").mkdir()
    folds = [path.parent.name for path in export(model, 1, tmp_path / "every")]
    assert folds == ["fold_0", "fold_3", "fold_all"]
    assert [path.parent.name for path in export(model, 1, tmp_path / "one", folds=["3"])] == ["fold_3"]
    with pytest.raises(UsageError, match=r"no checkpoint_final.pth of fold 4; it has that of 0, 3, all"):
        export(model, 1, tmp_path / "none", folds=["0", "4"])


def test_what_is_there_is_not_written_over(unetpp, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="out exists already"):
        export(unetpp, 1, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_export_that_fails_leaves_nothing(model, tmp_path):
    (model / "fold_1").mkdir()
    (model / "fold_1" / FINAL).write_bytes(b"half of it")
    with pytest.raises(NnunetExtError, match="cannot be read as a checkpoint"):
        export(model, 1, tmp_path / "folder" / "out")
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("depth", [0, 3])
def test_a_depth_without_branch_is_refused_with_those_there_are(unetpp, tmp_path, depth):
    with pytest.raises(UsageError, match=f"depth is {depth}: .* 1 to 2"):
        export(unetpp, depth, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_network_has_nothing_to_prune(model, tmp_path):
    change(model / "fold_0" / FINAL, network_weights={"encoder.stages.0.weight": 0}, trainer_name="Other")
    with pytest.raises(UsageError, match=r"holds no UNet\+\+ but another network, of trainer Other"):
        export(model, 1, tmp_path / "out")


def test_a_pyramid_is_refused(model, tmp_path):
    plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["supervision"] = "pyramid"
    (model / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(UsageError, match="pyramid supervision cannot be pruned"):
        export(model, 1, tmp_path / "out")


def test_a_folder_without_model_is_told_from_one_with(tmp_path):
    with pytest.raises(
        DatasetError, match=r"plans\.json cannot be read now: .* Name a trained model's folder"
    ):
        export(tmp_path, 1, tmp_path / "out")


def raw_scan(preprocessed, tmp_path):
    """A folder with the scan of the validation case."""
    raw = preprocessed.parent / "raw" / "Dataset901_Tiny" / "imagesTr" / f"{CASE}_0000.nii.gz"
    (tmp_path / "scan").mkdir()
    shutil.copy(raw, tmp_path / "scan")
    return tmp_path / "scan"


def ignore_some(data, model):
    """Let the reference of the validation case hold a label to ignore, and the dataset.json name it."""
    import SimpleITK as sitk

    path = data / "gt_segmentations" / f"{CASE}.nii.gz"
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    array[:, 8:14, 6:15] = 2
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path))
    dataset = json.loads((model / "dataset.json").read_text(encoding="utf-8"))
    dataset["labels"]["ignore"] = 2
    (model / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")


def draw_heads(path):
    """Weights of the heads at random that sum to 0, so that each branch finds some of the organ."""
    import torch

    from nnunet_ext.networks.checkpoint_file import read_checkpoint

    generator = torch.Generator().manual_seed(1)
    weights = read_checkpoint(path)["network_weights"]
    for name in (name for name in weights if ".seg_layers." in name):
        drawn = torch.zeros_like(weights[name])
        if name.endswith("weight"):
            drawn = torch.randn(drawn.shape, generator=generator)
            drawn -= drawn.mean(dim=1, keepdim=True)
        weights[name] = drawn
    change(path, network_weights=weights)


@pytest.mark.parametrize("ignore", [False, True])
def test_branches_have_the_dice_that_nnunet_finds_for_their_predictions(
    model, data, preprocessed, tmp_path, predictor, ignore
):
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    draw_heads(model / "fold_0" / FINAL)
    if ignore:
        ignore_some(data, model)
    scan, dices = raw_scan(preprocessed, tmp_path), []
    (tmp_path / "theirs").mkdir()
    for variables in ({"unetpp_depth": "1"}, {"unetpp_depth": "2"}, {"unetpp_mode": "mean"}):
        one = predictor(model, registered=True, **variables)
        one.predict_from_files_sequential(str(scan), str(tmp_path / "theirs"))
        files = (data / "gt_segmentations" / f"{CASE}.nii.gz", tmp_path / "theirs" / f"{CASE}.nii.gz")
        metrics = compute_metrics(*map(str, files), SimpleITKIO(), [1], 2 if ignore else None)
        dices.append(metrics["metrics"][1]["Dice"])
    comparison = compare(model)
    assert [one.branch.name for one in comparison.results] == ["depth 1", "depth 2", "mean of 1 to 2"]
    assert [one.mean_dice for one in comparison.results] == pytest.approx(dices, abs=1e-9)
    assert len(set(dices)) == 3
    assert all(0 < dice < 1 for dice in dices)


def test_a_branch_costs_what_the_network_exported_from_it_does(unetpp, preprocessed, monkeypatch):
    import torch
    from networks import arch_kwargs, on_meta
    from torch.utils.flop_counter import FlopCounterMode

    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    plans = json.loads((unetpp / "plans.json").read_text(encoding="utf-8"))
    kwargs = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
    flops, parameters = [], []
    for depth in (1, 2):
        kept = {"n_conv_per_stage": kwargs["n_conv_per_stage"][: depth + 1]}
        network = on_meta(arch_kwargs((4, 8, 8)[: depth + 1], 2, **kept), channels=(1, 2))
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 1, 16, 16, device="meta"))
        flops.append(counter.get_total_flops())
        parameters.append(sum(one.numel() for one in network.parameters()))
    *branches, mean = (one.branch for one in compare(unetpp).results)
    assert [one.flop for one in branches] == flops
    assert [one.n_parameters for one in branches] == parameters
    assert mean.flop > flops[-1]  # its further head
    assert mean.n_parameters == parameters[-1]


@pytest.mark.parametrize(
    ("damage", "told"), [(lambda _: b"none", "is no NIfTI file"), (lambda whole: whole[:-40], "is truncated")]
)
def test_a_case_that_cannot_be_read_is_left_out_for_all_and_told(model, data, capsys, damage, told):
    change(model / "fold_0" / FINAL, nnunet_ext={"split": {"train": [], "val": [CASE, "tiny_000"]}})
    reference = data / "gt_segmentations" / "tiny_000.nii.gz"
    reference.write_bytes(damage(reference.read_bytes()))
    assert main(["prune", "--auto", str(model), "-device", "cpu"]) == 1
    out = capsys.readouterr().out
    assert "1 validation cases of fold 0" in out
    assert "FAILED tiny_000: SegmentationError" in out and told in out
    assert "organ (in 1 of 1)" in out


def test_no_readable_case_is_an_error_with_the_reason(model, data):
    shutil.rmtree(data / "gt_segmentations")
    with pytest.raises(DatasetError, match=r"None of 1 validation cases .*gt_segmentations"):
        compare(model)


def test_weights_of_another_network_than_the_plans_describe_are_told(model, data):
    plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 16]
    (model / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(
        DatasetError, match=r"(?s)The weights do not fit the model's plans\.json: .*stages\.2"
    ):
        compare(model)


def test_nnunets_split_counts_where_the_checkpoint_records_none(model, data):
    change(model / "fold_0" / FINAL, nnunet_ext={})
    splits = [{"train": ["tiny_003"], "val": ["tiny_000", "tiny_001"]}]
    (data / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    assert [case.case_id for case in compare(model).cases] == ["tiny_000", "tiny_001"]


def test_a_fold_of_all_cases_has_none_to_compare_by(model, data):
    (model / "fold_0").rename(model / "fold_all")
    with pytest.raises(UsageError, match="Fold all was trained on all cases"):
        compare(model)


def test_data_that_is_not_preprocessed_is_told_before_anything_is_predicted(model, data):
    shutil.rmtree(data / "nnUNetPlans_2d")
    with pytest.raises(DatasetError, match="nnUNetPlans_2d does not exist: preprocess"):
        compare(model)


def test_auto_prints_a_row_a_branch_and_exports_the_one_it_names(
    unetpp, preprocessed, tmp_path, monkeypatch, capsys, read
):
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    out = tmp_path / "out"
    # Whatever a branch loses is within this tolerance.
    arguments = [
        "prune",
        "--auto",
        str(unetpp),
        "-f",
        "0",
        "-tolerance",
        "1",
        "-device",
        "cpu",
        "-o",
        str(out),
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for word in ("depth 1 ", "depth 2 ", "mean of 1 to 2", "organ", "GFLOP a patch", "s a case", "MiB"):
        assert word in said
    assert "within 1 Dice of the best branch: depth 1\n" in said
    assert f"nnUNetv2_predict_from_modelfolder -m {out} -f 0 -i" in said
    assert read(out / "fold_0" / FINAL)["nnunet_ext"]["pruned"]["depth"] == 1


def test_auto_refuses_a_folder_that_exists_before_it_computes(unetpp, tmp_path, capsys):
    assert main(["prune", "--auto", str(unetpp), "-o", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_depth_needs_a_folder_to_write(unetpp, capsys):
    assert main(["prune", str(unetpp), "--depth", "1"]) == 2
    assert "-o must name" in capsys.readouterr().err


def test_the_memory_of_a_block_is_that_at_its_peak():
    import numpy as np
    import psutil
    import torch

    from nnunet_ext.pruning.branches import SAMPLE_S, measured_on

    before = psutil.Process().memory_info().rss
    with measured_on(torch.device("cpu")) as cost:
        held = np.ones(2**23)  # 64 MiB
        threading.Event().wait(100 * SAMPLE_S)  # a second, in which a busy machine takes one sample
        del held
    assert cost.peak_bytes > before + 2**25
    assert cost.elapsed_s > 0
