"""Trained models on disk: `nnUNet_results/DatasetXXX_NAME/TRAINER__PLANS__CONFIGURATION/fold_N`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.files import is_junk
from nnunet_ext.paths import datasets_meant

RESULTS_VARIABLE = "nnUNet_results"
DATASET = re.compile(r"Dataset(\d{3,})_.+")
MODEL = re.compile(r"([^_.]\w*?)__(\w[\w.-]*?)__(\w[\w.-]*)")
FOLD = re.compile(r"fold_(\d+|all)")
LOG = re.compile(r"training_log_(\d+)_(\d+)_(\d+)_(\d+)_(\d+)_(\d+)\.txt")
CAPTURE_ENDINGS = frozenset({".log", ".out", ".err", ".txt"})


@dataclass(frozen=True)
class FoldFolder:
    """A fold of a model, and where it lies."""

    path: Path
    dataset: str
    trainer: str
    plans: str
    configuration: str
    fold: str

    @property
    def name(self) -> str:
        """`TRAINER__PLANS__CONFIGURATION/fold_N`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def order(self) -> tuple[str, str, str, str, int, str]:
        """What to sort by: folds by their number, `all` behind them."""
        number = int(self.fold) if self.fold.isdecimal() else 1 << 30
        return self.dataset, self.configuration, self.trainer, self.plans, number, self.fold


def find_folds(root: Path) -> list[FoldFolder]:
    """Find the folds below nnU-Net's results, or below the folder of one data set, model or fold.

    What macOS leaves (`._fold_0`), copies such as `fold_2_old` and folders of cross-validations are
    passed over.

    Raises:
        UsageError: there is no such folder.
    """
    root = root.resolve()
    if not root.is_dir():
        raise UsageError(f"{root} is no folder. Name nnUNet_results, or a data set's folder in it, with -i.")
    if FOLD.fullmatch(root.name) and MODEL.fullmatch(root.parent.name):
        return [_fold(root)]
    folds = (_fold(path) for model in _models(root) for path in _folders(model) if FOLD.fullmatch(path.name))
    return sorted(folds, key=lambda fold: fold.order)


def _models(root: Path) -> Iterator[Path]:
    if MODEL.fullmatch(root.name):
        yield root
        return
    for folder in _folders(root):
        if MODEL.fullmatch(folder.name):
            yield folder
        elif DATASET.fullmatch(folder.name):
            yield from (model for model in _folders(folder) if MODEL.fullmatch(model.name))


def _folders(parent: Path) -> Iterator[Path]:
    """Folders in `parent`; none where it cannot be looked into."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if not is_junk(entry.name) and entry.is_dir()]
    except OSError:
        return
    yield from (parent / name for name in sorted(names))


def _fold(path: Path) -> FoldFolder:
    trainer, plans, configuration = MODEL.fullmatch(path.parent.name).groups()  # type: ignore[union-attr]
    return FoldFolder(
        path, path.parent.parent.name, trainer, plans, configuration, path.name.removeprefix("fold_")
    )


def results_folder(dataset: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that `nnUNet_results` names, or that of one data set in it.

    Args:
        dataset: its number or name as `4`, `004` or `Dataset004_Hippocampus`; None for all.
        environment: the variables.

    Raises:
        UsageError: the variable is not set, names no folder, or the data set has none in it.
    """
    named = environment.get(RESULTS_VARIABLE)
    if not named:
        raise UsageError(f"{RESULTS_VARIABLE} is not set. Set it, or name the folder with -i.")
    root = Path(named)
    if not root.is_dir():
        raise UsageError(f"{RESULTS_VARIABLE} names {root}, which is no folder.")
    if dataset is None:
        return root
    known = [folder for folder in _folders(root) if DATASET.fullmatch(folder.name)]
    found = datasets_meant(dataset, (folder.name for folder in known))
    if not found:
        names = ", ".join(folder.name for folder in known) or "none"
        raise UsageError(f"-d {dataset}: {root} has no such data set; it has {names}.")
    return root / found[0]


def is_dataset(asked: str, name: str) -> bool:
    """Whether a number or name means the data set of this name."""
    match = DATASET.fullmatch(name)
    return asked == name or (match is not None and asked.isdecimal() and int(asked) == int(match[1]))


def find_logs(fold: Path) -> list[Path]:
    """nnU-Net's logs in a fold, the oldest first: by their names, whose months and days have no zeros."""
    found = [(tuple(map(int, match.groups())), path) for path, match in _matches(fold)]
    return [path for _, path in sorted(found)]


def _matches(fold: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in _files(fold):
        match = LOG.fullmatch(path.name)
        if match:
            yield path, match


def find_captures(fold: Path) -> list[Path]:
    """What else lies in a fold and may be a console's output, the oldest first."""
    others = (path for path in _files(fold) if path.suffix in CAPTURE_ENDINGS)
    return sorted(
        (path for path in others if not path.name.startswith("training_log")),
        key=lambda path: path.stat().st_mtime,
    )


def _files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if not is_junk(entry.name) and entry.is_file()]
    except OSError:
        return []
