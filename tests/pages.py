"""The pages of README and documentation: their blocks of code, and folders in which their commands run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages from raw data on: each runs in folders of its own.
FROM_RAW_DATA = (
    "docs/tutorials/first-training.md",
    "docs/tutorials/submission.md",
    "docs/tutorials/rare-labels.md",
    "docs/tutorials/unet-plus-plus.md",
    "docs/tutorials/two-stages.md",
    "docs/tutorials/without-a-gpu.md",
)
# Pages for somebody who has trained: they run where the commands of the README have run.
AFTER_TRAINING = (
    "docs/how-to/check.md",
    "docs/how-to/compare.md",
    "docs/how-to/continue.md",
    "docs/how-to/deadline.md",
    "docs/how-to/mixed-spacings.md",
    "docs/how-to/out-of-memory.md",
    "docs/how-to/regions.md",
    "docs/how-to/results-to-plan.md",
    "docs/how-to/rgb-and-2d.md",
    "docs/how-to/segmentations.md",
    "docs/how-to/set-up.md",
    "docs/how-to/watch.md",
    "docs/how-to/workers-that-die.md",
    "docs/reference/formats.md",
    "docs/tutorials/clusters.md",
    "docs/how-to/subjects.md",  # last: it makes new folds
)
RUN = ("README.md", *FROM_RAW_DATA, *AFTER_TRAINING)
PARSED_ONLY = {
    "docs/how-to/preprocess.md": "the README and the first tutorial run the same commands",
    "docs/index.md": "installs the package, and changes the environment in which the tests run",
    "docs/tutorials/index.md": "its one command begins every tutorial, which run it",
    "docs/tutorials/windows.md": "PowerShell, and changes the environment",
}
# First words of the commands in blocks of sh, which are only parsed, and why.
NOT_RUN = {
    "source": "changes the shell; the tests of the scripts do it",
    "export": "changes the shell",
    "eval": "changes the shell",
    "nnunet_ext register": "changes the environment in which the tests run",
    "nnunet_ext unregister": "changes that environment, too",
    "nnunet_ext demo": "takes a quarter of an hour; the tests of the demo run a shorter one",
    "for": "repeats trainings that other pages run",
    "nnunet_ext train": "stands in that loop",
    "done": "ends that loop",
    "sbatch": "needs SLURM",
    "scripts/linux/slurm_dask.sh": "needs SLURM",
    "torchrun": "needs several devices; the tests of trainers have it",
    "nnunet_ext predict": "needs a scheduler of Dask; the tests of jobs have one",
    "nnunet_ext roi": "compares with a prediction that the page does not make",
}
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<kind>\w+)(?: title=\"(?P<file>[^\"]+)\")?\n(?P<text>.*?)^ *```", re.M | re.S
)
NNUNETS = Path(sys.executable).parent  # where the environment has nnU-Net's commands
ON_A_DEVICE = ("train", "benchmark", "predict", "prune", "roi predict")
# Trainings of pages last two epochs of one batch, on networks of few features.
SHORTER = re.compile(r"(-n_(?:epochs|iterations|val_iterations) |_ep)\d+")
FEW_FEATURES, SMALL_BATCH = 4, 2
FINDS_FAULTS = ("doctor", "check")  # their exit code may be 1


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


class Project:
    """A folder with nnU-Net's three folders, in which the commands of pages run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.n_epochs = folder, 2
        parts = ("raw", "preprocessed", "results")
        nnunets = {f"nnUNet_{part}": str(folder / f"nnUNet_{part}") for part in parts}
        for one in nnunets.values():
            Path(one).mkdir()
        small = {"nnUNet_n_iterations": "1", "nnUNet_n_val_iterations": "1", "nnUNet_n_proc_DA": "1"}
        few = {"nnUNet_def_n_proc": "1", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}
        self.environment = {**os.environ, **nnunets, **small, **few, "PYTHONPATH": str(ROOT)}
        self.environment[TRAINER_VARIABLE] = with_discovery()  # as the activation scripts have it

    def run_page(self, page: str) -> None:
        """Run the commands in a page's blocks of bash, after writing the files that it shows."""
        for kind, file, text in blocks(ROOT / page):
            if kind in ("yaml", "csv") and file:
                (self.folder / file).write_text(text, encoding="utf-8")
            for line in text.splitlines() if kind == "bash" else ():
                if words := shlex.split(self._expanded(line), comments=True):
                    self.run(words)

    def _expanded(self, line: str) -> str:
        return re.sub(r"\$(\w+)", lambda found: self.environment[found[1]], line)

    def run(self, words: list[str], codes: tuple[int, ...] = (0,)) -> str:
        """Run a command as a test can; gives its output."""
        words = [one for word in words for one in (self._matches(word) if "*" in word else [word])]
        if words[0] == "nnunet_ext" and words[1] in FINDS_FAULTS:
            codes = (0, 1)
        done = subprocess.run(
            self.command(words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode in codes, (shlex.join(words), done.stdout[-2000:], done.stderr[-3000:])
        self._shrink_plans()
        self._stand_in_for_bests()
        return done.stdout

    def _matches(self, word: str) -> list[str]:
        found = sorted(map(str, self.folder.glob(word)))
        assert found, f"{word} matches nothing"
        return found

    def command(self, words: list[str]) -> list[str]:
        """The command with short trainings, and on a device that is there."""
        import torch

        words = shlex.split(SHORTER.sub(rf"\g<1>{self.n_epochs}", shlex.join(words)))
        is_ours = words[0] == "nnunet_ext"
        name = " ".join(words[1:3] if words[1] == "roi" else words[1:2]) if is_ours else words[0]
        on_a_device = name in ON_A_DEVICE or words[0].startswith(("nnUNetv2_predict", "nnUNetv2_train"))
        if on_a_device and not {"-device", "--show"} & {*words} and not torch.cuda.is_available():
            words += ["-device", "cpu"]
        if is_ours:
            return [sys.executable, "-m", "nnunet_ext", *words[1:]]
        return [str(NNUNETS / words[0]) if words[0].startswith("nnUNetv2") else words[0], *words[1:]]

    def _shrink_plans(self) -> None:
        """Make the planned networks small enough for a test."""
        for path in (self.folder / "nnUNet_preprocessed").glob("*/*Plans.json"):
            plans = json.loads(path.read_text(encoding="utf-8"))
            for configuration in plans["configurations"].values():
                if "batch_size" in configuration:
                    configuration["batch_size"] = SMALL_BATCH
                if "architecture" in configuration:
                    kwargs = configuration["architecture"]["arch_kwargs"]
                    kwargs["features_per_stage"] = [FEW_FEATURES] * len(kwargs["features_per_stage"])
            path.write_text(json.dumps(plans), encoding="utf-8")

    def _stand_in_for_bests(self) -> None:
        """Give folds the best weights of a rare label, which trainings of two batches never learn."""
        for best in (self.folder / "nnUNet_results").glob("*/*/fold_*/checkpoint_best.pth"):
            of_label = best.with_name("checkpoint_best_right_ventricle.pth")
            if not of_label.exists():
                shutil.copyfile(best, of_label)
