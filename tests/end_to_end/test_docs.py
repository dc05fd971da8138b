"""The commands of README and documentation: all are ones that their verbs take, and whole pages run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from nnunet_ext.cli.main import build_parser
from nnunet_ext.cli.verbs import VERBS
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<kind>\w+)(?: title=\"(?P<file>[^\"]+)\")?\n(?P<text>.*?)^ *```", re.M | re.S
)
NNUNETS = Path(sys.executable).parent  # where the environment has nnU-Net's commands
ON_A_DEVICE = ("train", "benchmark", "predict", "prune", "roi predict", "nnUNetv2_predict")
# Trainings of pages last two epochs of one batch, on networks of few features.
SHORTER = re.compile(r"(-n_(?:epochs|iterations|val_iterations)) \d+")
FEW_FEATURES, SMALL_BATCH = 4, 2
PAGES = [
    pytest.param(name, id=name, marks=pytest.mark.skipif(not (ROOT / name).exists(), reason="no docs here"))
    for name in (
        "README.md",
        "docs/tutorials/first-training.md",
        "docs/tutorials/submission.md",
        "docs/tutorials/rare-labels.md",
        "docs/tutorials/unet-plus-plus.md",
        "docs/tutorials/two-stages.md",
        "docs/tutorials/without-a-gpu.md",
    )
]


def blocks(page: Path) -> list[tuple[str, str | None, str]]:
    """The code blocks of a page: kind, name of the file that it is, text."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(one["kind"], one["file"], textwrap.dedent(one["text"])) for one in found]


def commands(page: Path, kinds: set[str]) -> list[list[str]]:
    """The commands in blocks of these kinds, without their comments."""
    lines = [line for kind, _, text in blocks(page) if kind in kinds for line in text.splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def every_page() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.skipif(not DOCS.exists(), reason="no docs here")
def test_every_command_in_the_docs_is_one_that_its_verb_takes():
    checked, wrong = 0, []
    for page in every_page():
        for words in commands(page, {"bash", "sh", "powershell", "bat"}):
            if words[0] != "nnunet_ext" or "..." in words:
                continue
            checked += 1
            try:
                build_parser(words[1] if words[1] in VERBS else None).parse_args(words[1:])
            except SystemExit:
                wrong.append(f"{page.name}: {shlex.join(words)}")
    assert checked > 60 and not wrong, wrong


@pytest.mark.skipif(not DOCS.exists(), reason="no docs here")
def test_tutorials_are_all_run_but_those_of_other_systems_and_clusters():
    run = {Path(page.values[0]).name for page in PAGES}
    assert {page.name for page in (DOCS / "tutorials").glob("*.md")} - run == {
        "index.md",
        "clusters.md",
        "windows.md",
    }


def shrink_plans(preprocessed: Path) -> None:
    """Make the planned networks small enough for a test."""
    for path in preprocessed.glob("*/*Plans.json"):
        plans = json.loads(path.read_text(encoding="utf-8"))
        for configuration in plans["configurations"].values():
            if "batch_size" in configuration:
                configuration["batch_size"] = SMALL_BATCH
            if "architecture" in configuration:
                kwargs = configuration["architecture"]["arch_kwargs"]
                kwargs["features_per_stage"] = [FEW_FEATURES] * len(kwargs["features_per_stage"])
        path.write_text(json.dumps(plans), encoding="utf-8")


def shortened(words: list[str]) -> list[str]:
    """The command as a test can run it."""
    words = shlex.split(SHORTER.sub(r"\1 2", shlex.join(words)))
    name = " ".join(words[1:3] if words[1] == "roi" else words[1:2]) if words[0] == "nnunet_ext" else words[0]
    on_a_device = name in ON_A_DEVICE or words[0].startswith("nnUNetv2_predict")
    if on_a_device and "-device" not in words and "--show" not in words and not torch.cuda.is_available():
        words += ["-device", "cpu"]
    return words


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.usefixtures("warm_children")
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_in_their_order(page, tmp_path, monkeypatch):
    folders = {
        f"nnUNet_{part}": str(tmp_path / f"nnUNet_{part}") for part in ("raw", "preprocessed", "results")
    }
    for folder in folders.values():
        Path(folder).mkdir()
    small = {"nnUNet_n_iterations": "1", "nnUNet_n_val_iterations": "1", "nnUNet_n_proc_DA": "1"}
    few = {"nnUNet_def_n_proc": "1", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **folders, **small, **few, "PYTHONPATH": str(ROOT)}
    environment[TRAINER_VARIABLE] = with_discovery()  # as `register` and the activation scripts have it
    for name, value in folders.items():
        monkeypatch.setenv(name, value)
    if page == "README.md":
        run(
            ["nnunet_ext", "demo", "--only_data", "-o", "nnUNet_raw/Dataset001_CardiacPhantom"],
            tmp_path,
            environment,
        )
    for kind, file, text in blocks(ROOT / page):
        if kind == "yaml" and file:
            (tmp_path / file).write_text(text, encoding="utf-8")
        for line in text.splitlines() if kind == "bash" else ():
            if words := shlex.split(os.path.expandvars(line), comments=True):
                run(shortened(words), tmp_path, environment)
                shrink_plans(tmp_path / "nnUNet_preprocessed")
                stand_in_for_bests(tmp_path / "nnUNet_results")


def stand_in_for_bests(results: Path) -> None:
    """Give folds the best weights of a rare label, which trainings of two batches never learn."""
    for best in results.glob("*/*/fold_*/checkpoint_best.pth"):
        of_label = best.with_name("checkpoint_best_right_ventricle.pth")
        if not of_label.exists():
            shutil.copyfile(best, of_label)


def run(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    program = [sys.executable, "-m", "nnunet_ext"] if words[0] == "nnunet_ext" else [str(NNUNETS / words[0])]
    done = subprocess.run(
        [*program, *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    # The doctor of a machine without a GPU, or of a busy one, may find something.
    expected = (0, 1) if words[:2] == ["nnunet_ext", "doctor"] else (0,)
    assert done.returncode in expected, (shlex.join(words), done.stdout[-2000:], done.stderr[-3000:])
