import subprocess
import sys

import numpy as np
import pytest
from factories import softmax, write_dataset_json, write_image, write_prediction

from nnunet_ext.cli.main import main
from nnunet_ext.images.image import read_segmentation


def member(folder, seed, cases=("a",)):
    write_dataset_json(folder)
    for case in cases:
        write_prediction(folder, case, softmax(seed))
    return folder


def test_ensemble_of_folders_ends_with_a_zip(tmp_path, capsys):
    one, two = member(tmp_path / "one", 1), member(tmp_path / "two", 2)
    write_image(tmp_path / "scans" / "a_0000.nii.gz", np.zeros((5, 7, 9), np.float32))
    arguments = ["ensemble", "-i", f"2d={one}", f"3d={two}", "-o", str(tmp_path / "out")]
    assert (
        main([*arguments, "-r", str(tmp_path / "scans"), "--zip", str(tmp_path / "s.zip"), "-np", "0"]) == 0
    )
    out = capsys.readouterr().out
    assert "1 of 1 cases written" in out and "s.zip" in out
    scans_and_labels = ["-r", str(tmp_path / "scans"), "-d", str(one / "dataset.json")]
    assert main(["verify", str(tmp_path / "s.zip"), *scans_and_labels]) == 0
    assert (
        main(["submit", "-i", str(tmp_path / "out"), "-o", str(tmp_path / "t.zip"), *scans_and_labels]) == 0
    )
    assert (tmp_path / "t.zip").exists()


def test_a_name_given_twice_has_two_folds(tmp_path):
    folders = [member(tmp_path / f"f{n}", n) for n in range(2)]
    entries = [f"2d={folder}" for folder in folders]
    assert main(["ensemble", "-i", *entries, "-o", str(tmp_path / "out"), "-np", "0"]) == 0
    expected = ((softmax(0) + softmax(1)) / 2).argmax(axis=0)
    np.testing.assert_array_equal(read_segmentation(tmp_path / "out" / "a.nii.gz")[0], expected)


def test_a_failed_case_is_exit_code_1_and_told(tmp_path, capsys):
    folder = member(tmp_path / "one", 1, ("a", "b"))
    (folder / "b.npz").write_bytes(b"PK")
    assert main(["ensemble", "-i", str(folder), "-o", str(tmp_path / "out"), "-np", "0"]) == 1
    assert "FAILED b: ProbabilitiesError" in capsys.readouterr().out


@pytest.mark.parametrize("plan", ["members: {2d: gone}", "members: ["])
def test_a_bad_plan_is_exit_code_2_without_a_traceback(tmp_path, capsys, plan):
    (tmp_path / "plan.yaml").write_text(plan, encoding="utf-8")
    assert main(["ensemble", "--plan", str(tmp_path / "plan.yaml"), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("PlanError: ")


@pytest.mark.parametrize("arguments", [["-np", "-1"], ["-np", "two"]])
def test_wrong_usage_is_exit_code_2(tmp_path, arguments):
    with pytest.raises(SystemExit) as caught:
        main(["ensemble", "-o", str(tmp_path), *arguments])
    assert caught.value.code == 2


def test_an_ensemble_of_nothing_is_exit_code_2(tmp_path, capsys):
    assert main(["ensemble", "-o", str(tmp_path)]) == 2
    assert "name members with -i, or a plan with --plan" in capsys.readouterr().err


def test_steps_keep_the_order_in_which_they_are_typed(tmp_path):
    write_dataset_json(tmp_path / "in")
    ring = np.ones((5, 7, 9), np.uint8)
    ring[2, 2:5, 2:6] = 0
    ring[2, 3, 3] = 2
    write_image(tmp_path / "in" / "a.nii.gz", ring)

    def first_voxels(*steps):
        assert (
            main(["postprocess", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-np", "0", *steps])
            == 0
        )
        return read_segmentation(tmp_path / "out" / "a.nii.gz")[0][2, 3, 2:5].tolist()

    assert first_voxels("--fill_holes", "1", "--remove_small", "1000", "left_ventricle") == [1, 0, 1]
    assert first_voxels("--remove_small", "1000", "left_ventricle", "--fill_holes", "1") == [1, 1, 1]


def test_steps_of_a_plan_are_taken(tmp_path, capsys):
    write_dataset_json(tmp_path / "in")
    write_image(tmp_path / "in" / "a.nii.gz", np.zeros((5, 7, 9), np.uint8))
    plan = tmp_path / "plan.yaml"
    arguments = ["postprocess", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-np", "0"]
    plan.write_text("postprocess: [keep_largest]", encoding="utf-8")
    assert main([*arguments, "--plan", str(plan)]) == 0
    plan.write_text("members: {}", encoding="utf-8")
    assert main([*arguments, "--plan", str(plan)]) == 2
    assert "no list 'postprocess'" in capsys.readouterr().err


def test_an_unreadable_dataset_json_is_exit_code_1(tmp_path, capsys):
    assert main(["verify", "x.zip", "-r", str(tmp_path), "-d", str(tmp_path / "none.json")]) == 1
    assert "does not exist" in capsys.readouterr().err


# What the system does not let us do


def raising(monkeypatch, error):
    from nnunet_ext.cli import plans

    def run(args):
        print("something was done")
        raise error

    monkeypatch.setattr(plans, "run", run)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(13, "Permission denied", "/a/plans.json"),
            "PermissionError: /a/plans.json: Permission",
        ),
        (OSError(28, "No space left on device"), "OSError: No space left on device."),
        (FileExistsError(17, "File exists", "/a", None, "/b"), "FileExistsError: /a and /b: File exists."),
        (OSError("odd"), "OSError: odd."),
        (MemoryError(), "MemoryError: there is too little memory; use fewer processes (-np)."),
    ],
)
def test_an_error_of_the_system_is_printed_on_one_line(monkeypatch, capfd, error, said):
    raising(monkeypatch, error)
    assert main(["plans", "-d", "1"]) == 1
    err = capfd.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_a_standard_output_that_is_full_or_closed_gives_no_traceback(redirection):
    command = f'"{sys.executable}" -m nnunet_ext train --show {redirection}'
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == (0 if redirection == ">&-" else 1)


def test_spawned_processes_of_others_import_the_package_too(monkeypatch):
    from multiprocessing import spawn

    from nnunet_ext import __main__ as started

    monkeypatch.setitem(sys.modules, "__main__", started)
    assert spawn.get_preparation_data("worker")["init_main_from_path"] == started.__file__


def test_an_option_is_not_taken_for_one_that_begins_alike(capsys):
    with pytest.raises(SystemExit):
        main(["results", "--cs", "a.csv"])
    said = capsys.readouterr().err
    assert "unrecognized argument --cs (did you mean --csv?)" in said
    assert "a.csv" not in said.splitlines()[-1]
