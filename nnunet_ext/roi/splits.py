"""Take the folds and subjects of a data set along to a data set of crops of its cases.

nnU-Net would draw folds of its own for the new data set, in which a subject may be on both sides, and a
case that the coarse model has trained on may be one that the fine model is validated on.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.nnunet.folders import DATASET_NAME, PREPROCESSED_VARIABLE
from nnunet_ext.nnunet.splits import SPLITS, Split, read_splits
from nnunet_ext.nnunet.subjects import SUBJECTS, find_subjects
from nnunet_ext.splits.files import remember_subjects, write_splits


def take_splits_along(
    source: Path, target: Path, cases: Collection[str], environment: Mapping[str, str] = os.environ
) -> list[str]:
    """Write folds and subjects of a data set for another one of the same cases, where nnU-Net reads them.

    Args:
        source: raw folder of the data set whose cases these are.
        target: raw folder of the new data set; folds and subjects are written there where it is not named
            like one of nnU-Net's.
        cases: cases of the new data set; folds are written without the others.
        environment: the variables that name nnU-Net's folders.

    Returns:
        What was done and what the user should know, a sentence each.

    Raises:
        DatasetError: they cannot be read or written; nnU-Net would draw others.
    """
    base = environment.get(PREPROCESSED_VARIABLE)
    is_named = base is not None and DATASET_NAME.fullmatch(target.name) is not None
    home = Path(base) / target.name if base and is_named else target
    try:
        subjects = find_subjects([source], environment)
        said = _take_folds(_folds_of(source, base), source.name, home / SPLITS, cases)
        if subjects is not None:
            remember_subjects(subjects, home / SUBJECTS)
            said.append(f"the subjects of {source.name} are remembered in {home / SUBJECTS}")
    except DatasetError as error:
        raise DatasetError(
            f"those of {source.name} are not taken along: {error} Run this command again before you train: "
            "without them nnU-Net draws others."
        ) from error
    if said and not is_named:
        said.append(f"move {SPLITS} to the new data set's folder in nnUNet_preprocessed before training")
    return said


def _folds_of(source: Path, base: str | None) -> list[Split] | None:
    places = ([Path(base) / source.name] if base else []) + [source]
    for folder in places:
        try:
            return read_splits(folder / SPLITS)
        except UsageError:
            continue
    return None


def _take_folds(folds: list[Split] | None, name: str, path: Path, cases: Collection[str]) -> list[str]:
    if folds is None:
        return [
            f"{name} has no {SPLITS} to take along, so that nnU-Net draws folds of its own; for the same "
            "ones in both data sets run nnunet_ext splits, and this command again"
        ]
    if path.is_file() and not _is_taken(read_splits(path), folds):
        return [f"{path} has folds of its own, which are left as they are and not those of {name}"]
    write_splits(_restricted(folds, cases), path)
    return [f"the {len(folds)} folds of {name} are taken along to {path}"]


def _is_taken(there: list[Split], folds: list[Split]) -> bool:
    """Return whether an earlier run took these folds along, with fewer or more of their cases."""
    named = {case for split in there for part in ("train", "val") for case in split[part]}
    return there == _restricted(folds, named)


def _restricted(folds: list[Split], cases: Collection[str]) -> list[Split]:
    kept = set(cases)
    return [{part: [c for c in split[part] if c in kept] for part in ("train", "val")} for split in folds]
