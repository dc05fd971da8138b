"""The check on real scans, and on checkpoints that torch itself wrote."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from damage import flip_byte, truncate

from nnunet_ext.check.run import Check
from nnunet_ext.cli.main import main
from nnunet_ext.demo.dataset import write_dataset
from nnunet_ext.errors import DamagedFile
from nnunet_ext.images.image import read_segmentation, write_segmentation
from nnunet_ext.nnunet.checkpoint import read_checkpoint_facts
from nnunet_ext.nnunet.folders import DatasetFolders

DATA = Path(os.environ.get("NNUNET_EXT_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
SOURCE = DATA / "hippocampus" / "Dataset004_Hippocampus"


@pytest.fixture
def hippocampus(tmp_path):
    if not SOURCE.is_dir():
        pytest.skip(f"{SOURCE} is not there (set NNUNET_EXT_TEST_DATA)")
    shutil.copytree(SOURCE, tmp_path / SOURCE.name)
    return tmp_path / SOURCE.name


def found_in(folder):
    report = Check(DatasetFolders(folder.name, folder, None, None), n_processes=0).run()
    return {(f.severity, f.kind, f.path.name) for f in report.findings}


ODD_AND_HARMLESS = {
    ("note", "label_type", "hippocampus_003.nii.gz"),
    ("note", "intensities", SOURCE.name),
}


def test_real_scans_have_oddities_and_no_faults(hippocampus):
    assert found_in(hippocampus) == ODD_AND_HARMLESS


def test_faults_among_real_scans_are_found_all_at_once(hippocampus):
    images, labels = hippocampus / "imagesTr", hippocampus / "labelsTr"
    truncate(images / "hippocampus_004_0000.nii.gz")
    flip_byte(labels / "hippocampus_039.nii.gz")
    shutil.copy(images / "hippocampus_040_0000.nii.gz", images / "hippocampus_049_0000.nii.gz")
    array, geometry = read_segmentation(labels / "hippocampus_050.nii.gz")
    write_segmentation(
        np.where(array == 2, 5, array).astype(np.uint8), geometry, labels / "hippocampus_050.nii.gz"
    )
    (images / "._hippocampus_077_0000.nii.gz").write_bytes(b"\0\5")
    found = found_in(hippocampus) - ODD_AND_HARMLESS
    assert {(severity, kind, name) for severity, kind, name in found if severity == "error"} == {
        ("error", "damaged", "hippocampus_004_0000.nii.gz"),
        ("error", "damaged", "hippocampus_039.nii.gz"),
        ("error", "shape", "hippocampus_049.nii.gz"),
        ("error", "unknown_label", "hippocampus_050.nii.gz"),
        ("error", "junk", "._hippocampus_077_0000.nii.gz"),
    }
    assert ("warning", "duplicate", "hippocampus_049_0000.nii.gz") in found


def test_the_phantoms_oblique_scans_are_without_fault_on_two_workers(tmp_path, capsys):
    write_dataset(tmp_path / "Dataset001_Phantom")
    assert main(["check", "-i", str(tmp_path / "Dataset001_Phantom"), "-np", "2"]) == 0
    out = capsys.readouterr().out
    assert "16 of 16 images have oblique axes" in out
    assert "0 errors, 0 warnings" in out


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def checkpoint(torch, tmp_path):
    """A checkpoint as nnU-Net's, with what torch pickles beside plain tensors."""
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3), torch.nn.BatchNorm3d(8), torch.nn.Conv3d(8, 2, 1).bfloat16()
    )
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    content = {
        "network_weights": network.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": None,
        "logging": {"ema_fg_dice": [np.float32(0.5)], "path": Path("a")},
        "trainer_name": "nnUNetTrainer",
        "init_args": {"device": torch.device("cpu")},
        "parameter": torch.nn.Parameter(torch.ones(3, dtype=torch.float16)),
    }
    return content, tmp_path / "checkpoint_best.pth"


def test_a_checkpoint_of_torch_is_read_without_running_it(torch, checkpoint):
    content, path = checkpoint
    torch.save(content, path)
    facts = read_checkpoint_facts(path)
    assert facts.n_tensors == len(content["network_weights"])
    assert (facts.missing, facts.not_finite) == ((), ())


@pytest.mark.parametrize(
    ("place", "bad"),
    [
        ("network_weights.0.weight", float("nan")),
        ("network_weights.2.bias", float("inf")),
        ("parameter", float("-inf")),
    ],
)
def test_a_number_that_is_not_finite_is_found_in_single_half_and_brain_floats(torch, checkpoint, place, bad):
    content, path = checkpoint
    tensor = content
    for key in place.split(".", 1):
        tensor = tensor[key]
    tensor.data.view(-1)[0] = bad
    torch.save(content, path)
    assert read_checkpoint_facts(path).not_finite == (f"{place} (1)",)


def test_a_checkpoint_cut_anywhere_is_damaged(torch, checkpoint):
    content, path = checkpoint
    torch.save(content, path)
    whole = path.read_bytes()
    for share in (0.0, 0.001, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DamagedFile):
            read_checkpoint_facts(path)


@pytest.mark.parametrize(("n_colours", "n_channels"), [(3, 3), (1, 1), (3, 1)])
def test_photographs_may_hold_their_channels_as_colours_and_no_others(tmp_path, n_colours, n_channels):
    random = np.random.default_rng(6)
    for number in range(3):
        label = np.zeros((20, 30), np.uint8)
        label[5:9, 4 + number : 12] = 1
        colours = random.integers(0, 255, (20, 30, n_colours)).astype(np.uint8)
        write_png(tmp_path / "imagesTr" / f"road_{number}_0000.png", colours)
        write_png(tmp_path / "labelsTr" / f"road_{number}.png", label[..., None])
    names = {str(i): name for i, name in zip(range(n_channels), "RGB", strict=False)}
    content = {
        "channel_names": names,
        "labels": {"background": 0, "road": 1},
        "numTraining": 3,
        "file_ending": ".png",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    kinds = {kind for _, kind, _ in found_in(tmp_path)}
    assert kinds == (set() if n_colours == n_channels else {"rgb"})


def write_png(path, colours):
    import SimpleITK as sitk

    path.parent.mkdir(exist_ok=True)
    plain = colours[..., 0] if colours.shape[-1] == 1 else colours
    sitk.WriteImage(sitk.GetImageFromArray(plain, isVector=plain.ndim == 3), str(path))
