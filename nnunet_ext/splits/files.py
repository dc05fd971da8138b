"""Files of splits and subjects, written without losing older ones, and the cases that splits divide."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.files.whole import sync, write_json, written_whole
from nnunet_ext.nnunet.dataset_json import Labels, read_dataset
from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.image_files import find_images, without_channel
from nnunet_ext.nnunet.model_folder import find_folds
from nnunet_ext.nnunet.splits import Split, read_splits
from nnunet_ext.nnunet.subjects import Subjects, read_subjects, write_subjects
from nnunet_ext.splits.contents import CaseFiles


def find_cases(folders: DatasetFolders, *, with_images: bool) -> tuple[list[CaseFiles], Labels]:
    """Find the training cases of a data set, sorted, and its labels.

    Args:
        folders: folders of the data set; without raw data nnU-Net's copies of the labels are taken.
        with_images: whether to find the images, too, by whose digests copies are found.

    Raises:
        DatasetError: there is no dataset.json, or it is not nnU-Net's.
        UsageError: there are no labels.
    """
    home = folders.raw or folders.preprocessed
    if home is None:
        raise UsageError(
            f"{folders.name} has neither raw nor preprocessed data; splits are made from labels."
        )
    dataset = read_dataset(home / "dataset.json")
    found = find_images(_labels_folder(folders, home), dataset.file_ending, scans=False)
    images: dict[str, list[Path]] = {case: [] for case in found}
    if with_images and folders.raw:
        for path in sorted((folders.raw / "imagesTr").glob(f"*{dataset.file_ending}")):
            case = without_channel(path.name.removesuffix(dataset.file_ending))
            images.get(case, []).append(path)
    is_raw = any(images.values())  # then only cases with images count, as nnU-Net trains on these
    cases = [
        CaseFiles(c, path, tuple(images[c])) for c, path in sorted(found.items()) if images[c] or not is_raw
    ]
    return cases, dataset.labels


def _labels_folder(folders: DatasetFolders, home: Path) -> Path:
    """The folder of the labels: raw, or nnU-Net's copies where dataset.json lists files in other places."""
    raw = home / "labelsTr"
    copies = folders.preprocessed / "gt_segmentations" if folders.preprocessed else raw
    return raw if raw.is_dir() or not copies.is_dir() else copies


def write_splits(splits: list[Split], path: Path) -> Path | None:
    """Write splits, and keep an older file of that name under a name with its date.

    Returns:
        The new path of the older file; None where there was none, or it held the same splits.

    Raises:
        DatasetError: the splits cannot be written; the older file is unchanged.
    """
    try:
        return _write_splits(splits, path)
    except OSError as error:
        raise DatasetError(
            f"{path} was not written: {error.strerror or error}. Choose a folder with space that may be "
            "written, with -s."
        ) from error


def _write_splits(splits: list[Split], path: Path) -> Path | None:
    kept = _keep_old(path) if path.exists() and _splits_of(path) != splits else None
    write_json(splits, path)
    return kept


def _keep_old(path: Path) -> Path:
    """Copy a file to a free name with its date."""
    old = path.read_bytes()
    changed = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y%m%d_%H%M%S")
    kept = path.with_name(f"{path.stem}_{changed}.json")
    n = 0
    while kept.exists() and kept.read_bytes() != old:
        n += 1
        kept = path.with_name(f"{path.stem}_{changed}_{n}.json")
    with written_whole(kept) as part:
        part.write_bytes(old)
        sync(part)
    return kept


def remember_subjects(subjects: Subjects, path: Path) -> Path | None:
    """Write a subjects.json, and keep an older file of that name under a name with its date.

    Returns:
        The new path of the older file; None where there was none, or it held the same subjects.

    Raises:
        DatasetError: the subjects cannot be written; the older file is unchanged.
    """
    try:
        kept = _keep_old(path) if path.exists() and _subjects_of(path) != subjects else None
        write_subjects(subjects, path)
    except OSError as error:
        raise DatasetError(f"{path} was not written: {error}.") from error
    return kept


def _subjects_of(path: Path) -> Subjects | None:
    """The subjects of a file; None where it holds none."""
    try:
        return read_subjects(path)
    except DatasetError:
        return None


def _splits_of(path: Path) -> list[Split] | None:
    """The splits of a file; None where it holds none."""
    try:
        return read_splits(path)
    except DatasetError:
        return None


def trained_folds(results: Path | None) -> list[Path]:
    """The folders of folds that hold a checkpoint, and so were trained on the present splits."""
    folds = find_folds(results) if results else []
    return sorted(fold.path for fold in folds if any(fold.path.glob("checkpoint_*.pth")))
