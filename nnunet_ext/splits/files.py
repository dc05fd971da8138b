"""Where splits and the cases that they split lie, and writing without losing what was there."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.files.whole import sync, write_json, written_whole
from nnunet_ext.nnunet.dataset_json import Labels, read_dataset
from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.raw import find_images, without_channel
from nnunet_ext.nnunet.splits import Split, read_splits
from nnunet_ext.nnunet.subjects import Subjects, read_subjects, write_subjects
from nnunet_ext.splits.contents import CaseFiles


def find_cases(folders: DatasetFolders, *, with_images: bool) -> tuple[list[CaseFiles], Labels]:
    """The training cases of a data set, sorted, and its labels.

    Args:
        folders: of the data set; without raw data nnU-Net's copies of the labels do.
        with_images: also their images, to find copies by.

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
    is_raw = any(images.values())  # nnU-Net trains on cases that have images
    cases = [
        CaseFiles(c, path, tuple(images[c])) for c, path in sorted(found.items()) if images[c] or not is_raw
    ]
    return cases, dataset.labels


def _labels_folder(folders: DatasetFolders, home: Path) -> Path:
    """Where the labels lie: raw, or nnU-Net's copies where dataset.json lists files that lie elsewhere."""
    raw = home / "labelsTr"
    copies = folders.preprocessed / "gt_segmentations" if folders.preprocessed else raw
    return raw if raw.is_dir() or not copies.is_dir() else copies


def write_splits(splits: list[Split], path: Path) -> Path | None:
    """Write splits, and keep a file that was there under a name with its date.

    Returns:
        Where the old file lies now; None where there was none, or it held the same.

    Raises:
        DatasetError: they cannot be written; the old ones are as they were.
    """
    try:
        return _write_splits(splits, path)
    except OSError as error:
        raise DatasetError(
            f"{path} was not written: {error.strerror or error}. Its folder must have space, and let "
            "itself be written to."
        ) from error


def _write_splits(splits: list[Split], path: Path) -> Path | None:
    kept = _keep_old(path) if path.exists() and _held(path) != splits else None
    write_json(splits, path)
    return kept


def _keep_old(path: Path) -> Path:
    """Keep what a file holds under a name with its date."""
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
    """Keep subjects in a subjects.json, and others that were there under a name with its date.

    Returns:
        Where the old file lies now; None where there was none, or it held the same.

    Raises:
        DatasetError: they cannot be written; the old ones are as they were.
    """
    try:
        kept = _keep_old(path) if path.exists() and _known(path) != subjects else None
        write_subjects(subjects, path)
    except OSError as error:
        raise DatasetError(f"{path} was not written: {error}.") from error
    return kept


def _known(path: Path) -> Subjects | None:
    try:
        return read_subjects(path)
    except DatasetError:
        return None


def _held(path: Path) -> list[Split] | None:
    """The splits of a file; None where it holds none."""
    try:
        return read_splits(path)
    except DatasetError:
        return None


def trained_folds(results: Path | None) -> list[Path]:
    """Folders of folds that hold checkpoints: they were trained on the splits that there are."""
    if results is None:
        return []
    return sorted({path.parent for path in results.glob("*/fold_*/checkpoint_*.pth")})
