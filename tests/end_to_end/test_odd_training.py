"""A training on Windows from its start to a prediction, in a folder with letters of all kinds.

nnU-Net's own commands fail in such a folder there, so the data set is prepared elsewhere.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from factories import write_image

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_segmentation

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "nt", reason="others are tested elsewhere")]

CHECKOUT = Path(__file__).parents[2]
NAME, TRAINER = "Dataset901_Tiny", "nnUNetTrainerExt"
GRID = Geometry((4, 24, 20), (2.5, 0.9, 1.5), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
LONGEST_S = 600
SMALL = {"n_proc_DA": "1", "n_iterations": "2", "n_val_iterations": "1", "initial_lr": "1e-3"}


def python(root, *arguments, **settings):
    """A running Python with nnU-Net's folders below `root`; its output goes to a file there."""
    variables = {f"nnUNet_{part}": str(root / part) for part in ("raw", "preprocessed", "results")}
    settings = {f"nnUNet_{name}": value for name, value in (SMALL | settings).items()}
    environment = os.environ | variables | settings | {"PYTHONPATH": str(CHECKOUT), "nnUNet_def_n_proc": "1"}
    output = (root / "printed.txt").open("ab")
    with output:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def train(root, *more, **settings):
    line = f"-m nnunet_ext train -d 901 -c 2d -f 0 -tr {TRAINER} -device cpu"
    return python(root, *line.split(), *more, **settings)


def printed(root):
    return (root / "printed.txt").read_text(encoding="utf-8", errors="replace")


def ended(root, child):
    code = child.wait(LONGEST_S)
    return code, printed(root)


PREPARE = """\
import json, sys
from pathlib import Path
if __name__ == "__main__":
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints, plan_experiments, preprocess,
    )
    extract_fingerprints([901], num_processes=1, show_progress_bar=False)
    plan_experiments([901])
    path = Path(sys.argv[1])
    plans = json.loads(path.read_text())
    configuration = plans["configurations"]["2d"]
    configuration |= {"patch_size": [16, 16], "batch_size": 2}
    network = configuration["architecture"]["arch_kwargs"]
    for key, value in network.items():
        if isinstance(value, list):
            network[key] = value[: 2 if key == "n_conv_per_stage_decoder" else 3]
    network |= {"n_stages": 3, "features_per_stage": [4, 8, 8], "strides": [[1, 1], [2, 2], [2, 2]]}
    path.write_text(json.dumps(plans))
    preprocess([901], configurations=["2d"], num_processes=[1], show_progress_bar=False)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    plain = Path(os.environ["TEMP"]) / f"nnunet_ext_{os.getpid()}"
    raw = plain / "raw" / NAME
    random = np.random.default_rng(11)
    cases = [f"tiny_{number}" for number in range(4)]
    for case in cases:
        segmentation = np.zeros(GRID.shape, np.uint8)
        y, x = random.integers(3, 9, 2)
        segmentation[1:, y : y + 9, x : x + 8] = 1
        scan = (random.normal(0, 1, GRID.shape) + 3 * segmentation).astype(np.float32)
        write_image(raw / "imagesTr" / f"{case}_0000.nii.gz", scan, GRID)
        write_image(raw / "labelsTr" / f"{case}.nii.gz", segmentation, GRID)
    shutil.copytree(raw / "imagesTr", raw / "imagesTs", copy_function=shutil.copyfile)
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}, "numTraining": 4}
    (raw / "dataset.json").write_text(json.dumps(about | {"file_ending": ".nii.gz"}), encoding="utf-8")
    for part in ("preprocessed", "results"):
        (plain / part).mkdir()
    script = plain / "prepare.py"
    script.write_text(PREPARE, encoding="utf-8")
    made = plain / "preprocessed" / NAME
    code, text = ended(plain, python(plain, script, made / "nnUNetPlans.json"))
    assert code == 0, text
    split = [{"train": cases[:3], "val": cases[3:]}]
    (made / "splits_final.json").write_text(json.dumps(split), encoding="utf-8")
    odd = tmp_path_factory.mktemp("Übung 1 測試") / "nnunet"
    shutil.copytree(plain, odd, copy_function=shutil.copyfile)
    shutil.rmtree(plain)
    (odd / "printed.txt").unlink()
    return odd


@pytest.fixture(scope="module")
def fold(root):
    return root / "results" / NAME / f"{TRAINER}__nnUNetPlans__2d" / "fold_0"


def test_a_training_stops_goes_on_and_predicts(root, fold):
    child = train(root, n_epochs="500")
    until = time.monotonic() + LONGEST_S
    while not (fold / "history.csv").is_file():
        assert child.poll() is None and time.monotonic() < until, printed(root)
        time.sleep(0.5)
    (fold / "STOP").touch()
    code, text = ended(root, child)
    assert code == 75, text
    assert "checkpoint_latest.pth is written" in text
    n_done = len((fold / "history.csv").read_text(encoding="utf-8").splitlines()) - 1

    with (fold / "checkpoint_latest.pth").open("rb"):  # as a viewer or a virus scanner holds it
        code, text = ended(root, train(root, "--c", n_epochs=str(n_done + 2), save_every="1"))
    assert code == 0, text
    assert "Traceback" not in text
    assert "The training goes on" in text
    assert (fold / "checkpoint_final.pth").is_file()
    assert (fold / "validation" / "summary.json").is_file()

    scans, out = root / "raw" / NAME / "imagesTs", root / "predicted"
    plan = root / "plan.yaml"
    plan.write_text("members: {m: {results: {d: 901, c: 2d, tr: " + TRAINER + ", f: [0]}}}", encoding="utf-8")
    code, text = ended(
        root,
        python(root, "-m", "nnunet_ext", "predict", "-i", scans, "--plan", plan, "-o", out, "-device", "cpu"),
    )
    assert code == 0, text
    for number in range(4):
        segmentation, geometry = read_segmentation(out / f"tiny_{number}.nii.gz")
        assert segmentation.shape == GRID.shape
        assert geometry.spacing == pytest.approx(GRID.spacing)
