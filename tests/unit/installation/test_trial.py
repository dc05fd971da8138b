import sys

import pytest

from nnunet_ext.installation import trial
from nnunet_ext.installation.trial import GIB, Trial, check_trial, run_probe
from nnunet_ext.nnunet.folders import discovery_folder

NAME = "nnUNetTrainerEarlyStopping"
OURS = {"nnUNet_extTrainer": str(discovery_folder())}


def findings(*answers, environment=OURS, exit_code=0):
    return check_trial(Trial(answers, exit_code, "the last line"), environment)


def answer(kind, subject="x", **outcome):
    return {"kind": kind, "subject": subject, **outcome}


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr(trial, "find_startup_files", list)


def test_a_trainer_of_this_package_is_fine():
    file = str(discovery_folder().parent / "trainer.py")
    assert [f.severity for f in findings(answer("trainer", NAME, answer=file))] == ["ok"]


@pytest.mark.parametrize("file", ["/other/trainer.py", None])
def test_a_trainer_of_another_package_is_an_error(file):
    (finding,) = findings(answer("trainer", NAME, answer=file))
    assert (finding.severity, finding.seen) == ("error", f"found in {file}, which is not this package")


def test_a_trainer_that_nobody_registered_is_a_warning_that_says_how():
    (finding,) = findings(answer("trainer", NAME, error="RuntimeError: Could not find"), environment={})
    assert finding.severity == "warning"
    assert "nnunet_ext register" in finding.advice


def test_a_trainer_that_is_registered_and_not_found_is_an_error():
    (finding,) = findings(answer("trainer", NAME, error="RuntimeError: no"))
    assert finding.severity == "error"
    assert "nnUNet_extTrainer names our folder: RuntimeError: no" in finding.seen


def test_a_folder_of_others_that_does_not_import_is_an_error():
    (finding,) = findings(answer("folder", "/mine", error="ImportError: nothing"))
    assert (finding.subject, finding.severity) == ("nnUNet_extTrainer", "error")
    assert "/mine cannot be imported: ImportError: nothing" in finding.seen


def test_a_missing_torch_is_reported_once():
    missing = {"error": "ModuleNotFoundError: No module named 'torch'", "missing": "torch"}
    found = findings(
        *(answer(kind, kind, **missing) for kind in ("torch", "torchvision", "device", "trainer"))
    )
    assert [finding.subject for finding in found] == ["import torch"]


def test_a_torchvision_of_another_release_is_an_error():
    error = "RuntimeError: operator torchvision::nms does not exist"
    assert [
        f.severity for f in findings(answer("torchvision", "torchvision", error=error, missing=None))
    ] == ["error"]


def test_a_gpu_is_fine_busy_or_small():
    sizes = [(70, 80), (3, 80), (5, 6)]
    gpus = [{"name": "CUDA 0: A", "free": free * GIB, "total": total * GIB} for free, total in sizes]
    found = findings(answer("device", answer={"devices": gpus, "built_for": "CUDA 12.8"}))
    assert [finding.severity for finding in found] == ["ok", "warning", "warning"]
    assert found[1].seen == "CUDA 0: A, 3.0 of 80.0 GiB free"
    assert "Other processes" in found[1].advice
    assert "gpu_memory_target" in found[2].advice


def test_no_gpu_is_a_warning_that_tells_the_driver_from_the_build(monkeypatch):
    monkeypatch.setattr(trial.shutil, "which", lambda name: None)
    (driver,) = findings(answer("device", answer={"devices": [], "built_for": "CUDA 12.8"}))
    (build,) = findings(answer("device", answer={"devices": [], "built_for": None}))
    assert (driver.severity, build.severity) == ("warning", "warning")
    assert "nvidia-smi" in driver.advice
    assert "built for CPUs only" in build.seen


def test_a_torch_for_cpus_beside_a_driver_is_an_error_with_what_to_type(monkeypatch):
    monkeypatch.setattr(trial.shutil, "which", lambda name: f"/usr/bin/{name}")
    (found,) = findings(answer("device", answer={"devices": [], "built_for": None}))
    assert found.severity == "error" and "NVIDIA driver" in found.seen
    assert f"{sys.executable} -m pip install" in found.advice and "--index-url" in found.advice


@pytest.mark.parametrize(("code", "how"), [(-11, "ended with code -11"), (None, "took too long")])
def test_a_child_that_dies_is_a_finding_beside_its_earlier_answers(code, how):
    found = findings(answer("torch", "torch", answer="2.8"), exit_code=code)
    assert how in found[-1].seen
    assert found[-1].seen.endswith("after torch: the last line")


def test_a_child_that_is_killed_leaves_its_whole_lines(monkeypatch):
    program = 'import os; print(\'{"kind": "torch", "subject": "torch", "answer": "2"}\', flush=True); '
    monkeypatch.setattr(trial, "PROGRAM", program + "print('{half', end='', flush=True); os._exit(7)")
    seen = run_probe()
    assert ([a["answer"] for a in seen.answers], seen.exit_code, seen.last_words) == (
        ["2"],
        7,
        "it printed nothing",
    )


def test_a_child_that_hangs_is_stopped(monkeypatch):
    monkeypatch.setattr(trial, "PROGRAM", "import time; time.sleep(60)")
    assert run_probe(timeout_s=0.5).exit_code is None


def test_the_parent_stays_free_of_torch_and_nnunet():
    import subprocess

    program = (
        "import sys; from nnunet_ext.cli import doctor, env, register, unregister; "
        "sys.exit(bool({'torch', 'nnunetv2', 'rich', 'numpy', 'SimpleITK'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
