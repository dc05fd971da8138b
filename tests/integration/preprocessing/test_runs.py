"""What a run of the preprocess verb keeps, makes anew, refuses, and tells of cases that it cannot make."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from factories import write_image
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from raw_sets import CASES, KINDS, NAME, scan_of

from nnunet_ext.cli.main import main
from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution, Shard
from nnunet_ext.preprocessing.run import run_preprocess
from nnunet_ext.resampling.functions import DefaultResampling

FULL = ["3d_fullres"]


def preprocess(**options):
    return run_preprocess(905, **{"configurations": FULL, "execution": IN_THIS_PROCESS} | options)


def counts(report):
    return [(one.n_made, one.n_kept) for one in report.configurations]


def state(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def raw_of(home):
    return home.parents[1] / "raw" / NAME


def edit_plans(home, **changes):
    path = home / "nnUNetPlans.json"
    content = json.loads(path.read_text())
    content["configurations"]["3d_fullres"] |= changes
    path.write_text(json.dumps(content))


def test_a_second_run_keeps_all_and_a_changed_case_alone_is_made_anew(isotropic):
    folder = isotropic / "nnUNetPlans_3d_fullres"
    assert counts(preprocess()) == [(3, 0)]
    before = state(folder)
    assert counts(preprocess()) == [(0, 3)]
    assert state(folder) == before
    _, labels, grid = scan_of(KINDS["isotropic"], 1)
    write_image(raw_of(isotropic) / "labelsTr" / f"{CASES[1]}.nii.gz", labels * (labels == 1), grid)
    assert counts(preprocess()) == [(1, 2)]
    after = state(folder)
    assert {name for name in after if after[name] != before[name]} == {
        f"{CASES[1]}{ending}" for ending in (".b2nd", "_seg.b2nd", ".pkl")
    }
    copy = isotropic / "gt_segmentations" / f"{CASES[1]}.nii.gz"
    assert copy.read_bytes() == (raw_of(isotropic) / "labelsTr" / copy.name).read_bytes()
    assert counts(preprocess(overwrite=True)) == [(3, 0)]


@pytest.mark.parametrize("ending", ["_seg.b2nd", ".b2nd", ".pkl"])
@pytest.mark.parametrize("how", ["lost", "cut short"])
def test_a_case_whose_files_are_not_whole_is_made_anew(isotropic, ending, how):
    preprocess()
    path = isotropic / "nnUNetPlans_3d_fullres" / f"{CASES[0]}{ending}"
    whole = path.read_bytes()
    if how == "lost":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2])
    assert counts(preprocess()) == [(1, 2)]
    assert path.read_bytes() == whole


def test_other_plans_other_writers_and_cases_that_are_gone_leave_nothing_behind(isotropic):
    folder = isotropic / "nnUNetPlans_3d_fullres"
    folder.mkdir()
    for name in ("case_9.b2nd", "case_9_seg.b2nd", "case_9.pkl", "case_0.npz", "case_0.b2nd", "notes.txt"):
        (folder / name).write_bytes(b"of nnU-Net, or of the user")
    assert counts(preprocess()) == [(3, 0)]
    names = {f"{case}{ending}" for case in CASES for ending in (".b2nd", "_seg.b2nd", ".pkl")}
    assert {path.name for path in folder.iterdir()} == {*names, "notes.txt"}
    edit_plans(isotropic, batch_size=7)
    assert counts(preprocess()) == [(0, 3)]
    edit_plans(isotropic, spacing=[0.9, 0.9, 0.9])
    label = raw_of(isotropic) / "labelsTr" / f"{CASES[2]}.nii.gz"
    label.write_bytes(b"no image")
    assert preprocess().failed.keys() == {CASES[2]}
    assert {path.name for path in folder.iterdir() if CASES[2] in path.name} == set()
    assert counts(preprocess()) == [(0, 2)]


def break_case(home, how):
    raw = raw_of(home)
    image, label = raw / "imagesTr" / f"{CASES[1]}_0001.nii.gz", raw / "labelsTr" / f"{CASES[1]}.nii.gz"
    channels, labels, grid = scan_of(KINDS["isotropic"], 1)
    if how == "cut short":
        image.write_bytes(image.read_bytes()[:-200])
    elif how == "a web page":
        image.write_text("<html>Please log in</html>")
    elif how == "NaN":
        write_image(image, np.where(channels[1] == 7, np.nan, channels[1]).astype(np.float32), grid)
    elif how == "halves":
        write_image(label, labels * np.float32(0.5), grid)
    elif how == "another shape":
        shutil.copy(raw / "labelsTr" / f"{CASES[0]}.nii.gz", label)
    elif how == "channels of two shapes":
        shutil.copy(raw / "imagesTr" / f"{CASES[0]}_0001.nii.gz", image)
    elif how == "no channel":
        image.unlink()
    else:
        label.unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut short", "case_1_0001"),
        ("a web page", "case_1_0001"),
        ("NaN", "NaN or infinite"),
        ("halves", "holds 0.5, which is no label"),
        ("another shape", "has the shape (15, 22, 20)"),
        ("channels of two shapes", "Not all input images have the same shape"),
        ("no channel", "there must be _0000.nii.gz, _0001.nii.gz"),
        ("no label", "there is no labelsTr/case_1.nii.gz"),
    ],
)
def test_a_bad_case_is_named_with_its_reason_and_the_others_go_on(isotropic, how, said, capfd):
    break_case(isotropic, how)
    assert main(["preprocess", "-d", "905", "-c", "2d", "3d_fullres", "-np", "0"]) == 1
    shown = capfd.readouterr()
    (line,) = [line for line in shown.out.splitlines() if "FAILED" in line]
    assert line.startswith("FAILED case_1: ") and said in line
    assert "Traceback" not in shown.out + shown.err and "ERROR" not in shown.out.replace(line, "")
    for name in ("2d", "3d_fullres"):
        assert f"{name}: 2 cases in" in shown.out
        names = {path.name for path in (isotropic / f"nnUNetPlans_{name}").glob("*.pkl")}
        assert names == {"case_0.pkl", "case_2.pkl"}


class Doubling(DefaultPreprocessor):
    """A preprocessor that changes arrays only."""

    def run_case_npy(self, data, seg, properties, plans_manager, configuration_manager, dataset_json):
        assert isinstance(configuration_manager.resampling_fn_data, DefaultResampling)
        assert seg.dtype == np.float32  # as nnU-Net's readers give it
        arguments = properties, plans_manager, configuration_manager, dataset_json
        data, seg, properties = super().run_case_npy(data, seg, *arguments)
        return data * 2, seg, properties


class Naming(DefaultPreprocessor):
    """A preprocessor that reads and writes by itself."""

    def run_case_save(self, output_filename_truncated, *arguments):
        super().run_case_save(output_filename_truncated, *arguments)
        assert output_filename_truncated.endswith(CASES)


class AllAtOnce(DefaultPreprocessor):
    def run(self, *arguments):
        """Another run."""


def take(monkeypatch, kind):
    monkeypatch.setattr(ConfigurationManager, "preprocessor_class", property(lambda _: kind))


def test_another_preprocessor_of_the_plans_is_used(isotropic, monkeypatch):
    import blosc2

    def image():
        return blosc2.open(str(isotropic / "nnUNetPlans_3d_fullres" / "case_2.b2nd"))[:]

    preprocess()
    default = image()
    for kind, factor in ((Doubling, 2), (Naming, 1)):
        edit_plans(isotropic, preprocessor_name=kind.__name__)
        take(monkeypatch, kind)
        assert counts(preprocess()) == [(3, 0)]
        np.testing.assert_allclose(image(), default * factor, rtol=1e-6)
        assert counts(preprocess()) == [(0, 3)]


@pytest.mark.parametrize(("kind", "said"), [(AllAtOnce, "use nnUNetv2_preprocess"), (None, "finds no")])
def test_a_preprocessor_that_cannot_do_single_cases_is_refused_before_a_file_is_removed(
    isotropic, monkeypatch, kind, said
):
    preprocess()
    before = state(isotropic / "nnUNetPlans_3d_fullres")
    edit_plans(isotropic, preprocessor_name="Other")
    take(monkeypatch, kind)
    with pytest.raises(DatasetError, match=said):
        preprocess()
    assert state(isotropic / "nnUNetPlans_3d_fullres") == before


def test_configurations_that_share_a_folder_are_made_once_if_they_agree(isotropic):
    assert counts(preprocess(configurations=["3d_fullres", "3d_fullres_bs4"])) == [(3, 0)]
    path = isotropic / "nnUNetPlans.json"
    content = json.loads(path.read_text())
    content["configurations"]["3d_fullres_bs4"]["spacing"] = [2, 2, 2]
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="share the data_identifier nnUNetPlans_3d_fullres"):
        preprocess(configurations=["3d_fullres", "3d_fullres_bs4"])
    content["configurations"]["3d_fullres_bs4"]["data_identifier"] = "gt_segmentations"
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="a folder for other files"):
        preprocess(configurations=["3d_fullres_bs4"])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the size of files")
def test_a_full_disk_fails_the_case_and_leaves_nothing_of_it(isotropic):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))  # labels fit, images do not
    try:
        report = preprocess()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert report.failed.keys() == set(CASES)
    assert all("Traceback" not in reason for reason in report.failed.values()), report.failed
    assert list((isotropic / "nnUNetPlans_3d_fullres").iterdir()) == []
    assert counts(preprocess()) == [(3, 0)]


def test_what_cannot_be_done_is_refused_before_a_file_is_removed(isotropic, capsys):
    preprocess()
    before = state(isotropic / "nnUNetPlans_3d_fullres")
    for options, said in (
        ({"configurations": ["3d_lowres"]}, "has no configuration 3d_lowres"),
        ({"plans": "OtherPlans"}, "plans there: nnUNetPlans"),
        ({"execution": Execution(shard=Shard(1, 2))}, "cannot do a shard"),
    ):
        with pytest.raises(UsageError, match=said):
            preprocess(**options)
    assert main(["preprocess", "-d", "905", "4711", "-c", "3d_fullres", "3d_lowres", "-np", "0"]) == 2
    shown = capsys.readouterr()
    assert "3d_fullres: 3 cases" in shown.out and "FAILED 4711" in shown.out
    assert "no configuration 3d_lowres; it is skipped" in shown.err
    shutil.move(isotropic / "nnUNetPlans_3d_fullres", isotropic / "kept")
    (isotropic / "nnUNetPlans_3d_fullres").write_text("mine")
    assert main(["preprocess", "-d", "905", "-c", "3d_fullres", "-np", "0"]) == 2
    assert "a file of that name is there" in capsys.readouterr().err
    assert state(isotropic / "kept") == before
