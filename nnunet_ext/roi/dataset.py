"""Raw data sets of crops: the settings of boxes, the raw data set to crop, and the folder of the new one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.names import TIF_ENDINGS
from nnunet_ext.nnunet.dataset_json import Dataset, dataset_of, read_dataset_json
from nnunet_ext.nnunet.folders import DATASET_NAME, RAW_VARIABLE, dataset_names, is_dataset
from nnunet_ext.nnunet.image_files import find_channels, find_images

ENTRY = "roi"  # entry in the dataset.json of a data set of crops
BOXES = "roi_boxes.json"
MARGIN_MM = 20.0
JITTER_MM = 10.0


@dataclass(frozen=True)
class BoxSettings:
    """The settings of boxes around a region of interest.

    Attributes:
        margin_mm: least margin around the region on every side.
        roi_labels: names of the labels that make the region; none are all.
        n_components: how many of the largest components of a coarse segmentation count.
    """

    margin_mm: float = MARGIN_MM
    roi_labels: tuple[str, ...] = ()
    n_components: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.margin_mm < float("inf"):
            raise UsageError(f"a margin of {self.margin_mm} mm is none; give 0 or more.")
        if self.n_components < 1:
            raise UsageError(f"{self.n_components} components are none; give 1 or more.")

    def as_json(self) -> dict[str, Any]:
        """Return the settings as plain values, tuples as lists."""
        return {**asdict(self), "roi_labels": list(self.roi_labels)}


def values_of_region(covered: Mapping[str, tuple[int, ...]], names: tuple[str, ...]) -> tuple[int, ...]:
    """Return the values of a segmentation that make the region of interest.

    Args:
        covered: the values of each label or region, by its name.
        names: names of the labels that make the region; none are all.

    Raises:
        UsageError: a name is unknown.
    """
    unknown = [name for name in names if name not in covered]
    if unknown:
        raise UsageError(f"--roi_labels {', '.join(unknown)}: the labels are {', '.join(covered)}.")
    return tuple(sorted({value for name in names or covered for value in covered[name]}))


def settings_of_model(folder: Path) -> BoxSettings | None:
    """Read the settings of the crops that a model was trained on; None where it was trained on whole scans.

    nnU-Net copies the dataset.json of the data set into the folder of each model.

    Raises:
        DatasetError: the model's dataset.json cannot be read, or its entry `roi` is of another form.
    """
    path = folder / "dataset.json"
    try:
        entry = read_json(path).get(ENTRY)
        if entry is None or entry.get("whole"):
            return None
        return BoxSettings(float(entry["margin_mm"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} has no readable entry {ENTRY!r}: {error!r}") from error


def check_ending(file_ending: str) -> None:
    """Refuse formats that do not hold the geometry of a volume.

    Raises:
        UsageError: it is one of them.
    """
    if file_ending.lower() in TIF_ENDINGS:
        raise UsageError(
            f"Images that end in {file_ending} hold no spacing and origin, and a crop has no place in them; "
            "convert them to .nii.gz or .nrrd."
        )


@dataclass(frozen=True, kw_only=True)
class RawFiles:
    """The training cases of a raw data set.

    Attributes:
        folder: the data set's folder.
        content: its dataset.json, as parsed.
        dataset: labels and file ending.
        channels: each case's images, in order.
        labels: each case's reference, where it has one.
    """

    folder: Path
    content: Mapping[str, Any]
    dataset: Dataset
    channels: Mapping[str, tuple[Path, ...]]
    labels: Mapping[str, Path]


def read_raw(folder: Path) -> RawFiles:
    """Find the training cases of a raw data set; no image is opened.

    Raises:
        UsageError: it has no images, lists files elsewhere, or its images hold no geometry.
        DatasetError: its dataset.json is missing or damaged.
    """
    content = read_dataset_json(folder / "dataset.json")
    dataset = dataset_of(content, folder / "dataset.json")
    check_ending(dataset.file_ending)
    if isinstance(content.get("dataset"), dict):
        raise UsageError(
            f"{folder / 'dataset.json'} lists files that lie elsewhere; only data sets with imagesTr and "
            "labelsTr can be cropped."
        )
    channels = find_channels(folder / "imagesTr", dataset.file_ending)
    labels = find_images(folder / "labelsTr", dataset.file_ending, scans=False)
    return RawFiles(folder=folder, content=content, dataset=dataset, channels=channels, labels=labels)


def target_folder(text: str, source: Path, suffix: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of a new raw data set.

    Args:
        text: a number (`103`), a name (`Dataset103_LiverROI`), or a folder anywhere.
        source: the old data set's folder; a number takes its name.
        suffix: appended to that name.
        environment: the variables that name nnU-Net's folders.

    Raises:
        UsageError: `nnUNet_raw` is not set, or another data set has that number.
    """
    known = DATASET_NAME.fullmatch(text)
    if not text.isdecimal() and known is None:
        return Path(text)
    number = int(known[1] if known else text)
    if not 0 <= number <= 999:
        raise UsageError(f"-o {text}: nnU-Net's data sets have numbers of three digits.")
    old = DATASET_NAME.fullmatch(source.name)
    name = text if known else f"Dataset{number:03d}_{old[2] if old else source.name}{suffix}"
    others = {other for other in dataset_names(environment) if is_dataset(number, other)} - {name}
    if others:
        raise UsageError(
            f"-o {text}: {', '.join(sorted(others))} has that number already. Choose another one."
        )
    if not environment.get(RAW_VARIABLE):
        raise UsageError("nnUNet_raw is not set, where the new data set goes. Set it, or name a folder.")
    return Path(environment[RAW_VARIABLE]) / name


def read_boxes(folder: Path) -> dict[str, Any] | None:
    """Read the record of boxes of a data set of crops; None where there is none.

    Raises:
        DatasetError: it cannot be read.
    """
    path = folder / BOXES
    try:
        return dict(read_json(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read as the record of boxes: {error}") from error


def check_target(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse a folder that holds files of something else, or crops made with other settings.

    Args:
        folder: folder of the new data set.
        settings: settings of this run.

    Returns:
        The cases that an earlier run with the same settings has written there, by name.

    Raises:
        UsageError: the folder holds files of something else, or of other settings.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    there = read_boxes(folder) if folder.is_dir() else None
    if there is None:
        raise UsageError(
            f"{folder} exists and was not written by this command. Choose another folder with -o."
        )
    old = there.get("settings", {})
    differing = [key for key in settings if old.get(key) != settings[key]]
    if differing:
        shown = "; ".join(f"{key}: {old.get(key)!r} there, {settings[key]!r} now" for key in differing)
        raise UsageError(f"{folder} was made with other settings ({shown}). Choose another with -o.")
    return dict(there.get("cases", {}))
