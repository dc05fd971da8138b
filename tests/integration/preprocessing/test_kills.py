"""A preprocessing run that is killed at any instant, and started again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import raw_sets
import warm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="children begin at once only where they are forks"),
]
PROGRAM = "import sys; from nnunet_ext.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def start(isotropic, monkeypatch):
    """Starts the command, in one process."""

    def begin() -> subprocess.Popen:
        with warm.children():
            return subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    PROGRAM,
                    "preprocess",
                    "-d",
                    "905",
                    "-c",
                    "2d",
                    "3d_fullres",
                    "-np",
                    "0",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    return begin


def cases(home: Path) -> dict[str, bytes]:
    folders = [home / f"nnUNetPlans_{name}" for name in ("2d", "3d_fullres")]
    return {
        f"{folder.name}/{path.name}": path.read_bytes()
        for folder in folders
        if folder.exists()
        for path in folder.iterdir()
        if path.is_file()
    }


@pytest.mark.parametrize("n_kills", [3, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_a_killed_run_leaves_whole_files_only_and_ends_as_an_undisturbed_one(isotropic, start, n_kills):
    rng = random.Random(n_kills)
    start().wait()
    for name in cases(isotropic):
        (isotropic / name).unlink()
    began = time.perf_counter()
    assert start().wait() == 0
    whole_s = time.perf_counter() - began
    expected = cases(isotropic)
    assert len(expected) == 2 * 3 * len(raw_sets.CASES)
    n_cut_short = n_done = 0
    while n_done < n_kills or n_cut_short == 0:
        n_done += 1
        for name in expected:
            (isotropic / name).unlink()
        child = start()
        time.sleep(rng.uniform(0.2, 0.9) * whole_s)
        child.kill()
        child.wait()
        left = cases(isotropic)
        assert left.items() <= expected.items()
        images = {name for name in left if name.endswith(".b2nd") and not name.endswith("_seg.b2nd")}
        stems = [name.removesuffix(".b2nd") for name in images]
        assert {f"{stem}{ending}" for stem in stems for ending in ("_seg.b2nd", ".pkl")} <= left.keys()
        if left.keys() < expected.keys():
            n_cut_short += 1
        else:
            whole_s /= 2  # the machine has become faster
        kept = {name: (isotropic / name).stat().st_mtime_ns for name in images}
        assert start().wait() == 0
        assert cases(isotropic) == expected
        assert {name: (isotropic / name).stat().st_mtime_ns for name in images} == kept
        assert not list(isotropic.rglob(".part-*"))


def test_a_trainer_of_nnunet_trains_on_the_files(isotropic, start, monkeypatch):
    import torch

    assert start().wait() == 0
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_compile", "f")
    from nnunetv2.run.run_training import get_trainer_from_args

    monkeypatch.setattr(
        "nnunetv2.training.logging.nnunet_logger.MetaLogger.plot_progress_png", lambda *_: None
    )
    (isotropic / "dataset_fingerprint.json").write_text("{}")
    (isotropic / "splits_final.json").write_text('[{"train": ["case_0", "case_1"], "val": ["case_2"]}]')
    trainer = get_trainer_from_args("Dataset905_Raw", "3d_fullres", 0, device=torch.device("cpu"))
    trainer.enable_deep_supervision = False  # which two stages are too few for
    trainer.initialize()
    trainer.num_iterations_per_epoch = trainer.num_val_iterations_per_epoch = 1
    trainer.on_train_start()
    loss = trainer.train_step(next(trainer.dataloader_train))["loss"]
    assert loss == loss  # not NaN
    assert set(next(trainer.dataloader_val)) >= {"data", "target"}
