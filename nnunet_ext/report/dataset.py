"""The report's section on the data set: its images, labels, folds, and subjects on both sides of a fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nnunet_ext.display.tables import NOTHING, Table
from nnunet_ext.files.documents import read_json_object
from nnunet_ext.monitoring.run import Run
from nnunet_ext.nnunet.plans import FINGERPRINT
from nnunet_ext.nnunet.splits import SPLITS, read_splits_if_whole
from nnunet_ext.report.blocks import Block, ListBlock, MissingBlock, TableBlock, TextBlock
from nnunet_ext.report.material import Material
from nnunet_ext.report.training_record import cases_per_label, leaked_subjects

SHOWN = 3
DATASET = "dataset.json"


def dataset_blocks(material: Material) -> list[Block]:
    """Images, labels and sizes of the data set, leaks between its folds, and the table of folds."""
    folders = [material.folders.raw, material.folders.preprocessed]
    folders += [run.folder.path.parent for run in material.runs]
    blocks: list[Block] = [TextBlock(_about(material, [folder for folder in folders if folder is not None]))]
    blocks += _leaks(material)
    table = _splits(material)
    if table is None:
        hint = "the folds have no validation yet, and nnUNet_preprocessed holds no splits_final.json"
        return [
            *blocks,
            MissingBlock(f"Cases of each fold are not known: {hint}. nnU-Net writes both in training."),
        ]
    return [*blocks, TableBlock(table)]


def _leaks(material: Material) -> list[Block]:
    """Subjects on both sides of a fold: in splits_final.json, and in the splits that trainings recorded."""
    blocks: list[Block] = []
    if material.subjects is None:
        hint = "nnunet_ext splits --audit --subject_pattern REGEX looks for leaks, and remembers the subjects"
        blocks.append(TextBlock(f"The subjects of the cases are not known; {hint}."))
    said = [*_leaks_of_splits(material), *_leaks_of_trainings(material)]
    return [*blocks, ListBlock(tuple(said))] if said else blocks


def _leaks_of_trainings(material: Material) -> list[str]:
    return [
        f"{run.folder.name} was trained on other scans of {_some(subjects)}, which it was validated on."
        for run in material.runs
        if (subjects := leaked_subjects(run.folder.path))
    ]


def _leaks_of_splits(material: Material) -> list[str]:
    if material.subjects is None:
        return []
    folder = material.folders.preprocessed
    splits = read_splits_if_whole(folder / SPLITS) if folder else []
    said = []
    for fold, split in enumerate(splits):
        train, val = (
            {one.subject for one in material.subjects.origins(split[part])} for part in ("train", "val")
        )
        if both := sorted(train & val):
            said.append(
                f"Fold {fold} trains and validates scans of {_some(both)}: its scores will be too good."
            )
    return said


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _about(material: Material, folders: Sequence[Path]) -> str:
    content = _first(folders, DATASET)
    channels = content.get("channel_names", content.get("modality", {}))
    n_cases = content.get("numTraining")
    known = f"{n_cases} training case{'s' * (n_cases > 1)}" if n_cases else "Training cases of unknown number"
    parts = [known]
    if isinstance(channels, dict) and channels:
        parts.append(f"channels: {', '.join(map(str, channels.values()))}")
    if material.dataset is not None:
        labels = material.dataset.labels
        kind = "regions" if labels.is_regions else "labels"
        parts.append(f"{kind}: {', '.join(labels.covered_by_name)}")
    fingerprint = _first(folders, FINGERPRINT)
    parts += [
        f"median {what} {' x '.join(f'{median(column):g}' for column in zip(*values, strict=True))}{unit}"
        for what, key, unit in (
            ("spacing", "spacings", " mm"),
            ("size", "shapes_after_crop", " voxels (z, y, x)"),
        )
        if (values := fingerprint.get(key))
    ]
    return "; ".join(parts) + "."


def _first(folders: Sequence[Path], name: str) -> dict[str, Any]:
    """The content of the first file of this name that holds a JSON object; empty where none does."""
    for folder in folders:
        if content := read_json_object(folder / name):
            return content
    return {}


def _splits(material: Material) -> Table | None:
    """A table of folds: training cases, validation cases, and how many of these hold each label."""
    folder = material.folders.preprocessed
    splits = read_splits_if_whole(folder / SPLITS) if folder else []
    sizes = {str(i): (str(len(one["train"])), str(len(one["val"]))) for i, one in enumerate(splits)}
    held: dict[str, dict[str, int]] = {}
    for run in material.runs:
        counts = _n_holding(run)
        if counts and run.folder.fold not in held:
            held[run.folder.fold] = counts
            n_validated = len(run.validation.cases) if run.validation else 0
            sizes.setdefault(run.folder.fold, ("", str(n_validated) if n_validated else ""))
    if not sizes:
        return None
    folds = sorted(sizes, key=lambda fold: (not fold.isdecimal(), fold.zfill(3)))
    labels = list(dict.fromkeys(label for counts in held.values() for label in counts))
    rows = [
        (what, *(sizes[fold][i] or NOTHING for fold in folds))
        for i, what in enumerate(("training cases", "validation cases"))
        if any(both[i] for both in sizes.values())
    ]
    for label in labels:
        counts_of = (held.get(fold, {}).get(label) for fold in folds)
        rows.append((f"… with {label}", *(NOTHING if count is None else str(count) for count in counts_of)))
    title = "Folds: cases, and how many of the validation cases hold each label"
    return Table(("", *(f"fold {fold}" for fold in folds)), tuple(rows), title)


def _n_holding(run: Run) -> dict[str, int]:
    """The number of validation cases that hold each label; empty where it is not known."""
    if run.validation and run.validation.cases:
        return {label: summary.n_holding for label, summary in run.validation.labels.items()}
    return cases_per_label(run.folder.path)
