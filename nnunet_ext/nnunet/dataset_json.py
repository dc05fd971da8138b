"""The dataset.json of a data set: labels, in the order of a network's output channels, and file ending."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.files.whole import written_whole

BACKGROUND = 0


@dataclass(frozen=True)
class Labels:
    """Labels or regions of a network's output channels.

    Attributes:
        names: name of each channel.
        values: value that a segmentation gets where the channel wins, one a channel.
        covered: values of a segmentation inside the label or region, one tuple a channel. A label covers its
            own value, and a region the values of its labels.
        is_regions: whether the channels are regions, which overlap (sigmoid, in class order), and not
            labels, which exclude each other (softmax).

    Source: nnU-Net's `LabelManager`.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    covered: tuple[tuple[int, ...], ...]
    is_regions: bool = False

    def __len__(self) -> int:
        return len(self.names)

    @property
    def segmentation_values(self) -> frozenset[int]:
        """All values that a segmentation may hold."""
        return frozenset({BACKGROUND, *self.values})

    @property
    def foreground(self) -> tuple[int, ...]:
        """Indices of the channels other than the background."""
        return tuple(i for i, covered in enumerate(self.covered) if covered != (BACKGROUND,))

    @property
    def covered_by_name(self) -> dict[str, tuple[int, ...]]:
        """Covered values by name of each label or region but the background."""
        return {self.names[i]: self.covered[i] for i in self.foreground}

    def find(self, key: str | int) -> int | None:
        """Index of the channel with this name, or otherwise with this value; None where there is none."""
        if str(key) in self.names:
            return self.names.index(str(key))
        try:
            value = int(key)
        except ValueError:
            return None
        return self.values.index(value) if self.values.count(value) == 1 else None

    def describe(self) -> str:
        """The names with their values, for messages: `background (0), liver (1)`."""
        return ", ".join(f"{name} ({value})" for name, value in zip(self.names, self.values, strict=True))


@dataclass(frozen=True)
class Dataset:
    """The entries of a dataset.json that this package needs.

    Attributes:
        labels: labels or regions of the networks' output channels.
        file_ending: file ending of images and segmentations.
        ignore: value of voxels in references that do not count; None where there is none.
    """

    labels: Labels
    file_ending: str
    ignore: int | None = None


def read_dataset(path: Path) -> Dataset:
    """Read a dataset.json.

    Raises:
        DatasetError: the file is missing, no JSON, or its labels are not what nnU-Net allows.
    """
    return dataset_of(read_dataset_json(path), path)


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Read all entries of a dataset.json, and check that those of nnU-Net have its types.

    Raises:
        DatasetError: as `read_dataset`.
    """
    from nnunet_ext.nnunet.forms import read_dataset_form  # pydantic, only where a file is read

    try:
        return read_dataset_form(path)
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist. Name the data set's dataset.json with -d.") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read now: {error.strerror or error}.") from error
    except ValueError as error:
        raise DatasetError(f"{path} is no dataset.json as nnU-Net needs it: {error}.") from error


def dataset_of(content: Mapping[str, Any], path: Path) -> Dataset:
    """The entries that this package needs, from the content of a dataset.json.

    Raises:
        DatasetError: its labels are not what nnU-Net allows.
    """
    ignore = content["labels"].get("ignore")
    try:
        labels = labels_of(content)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    return Dataset(labels, content["file_ending"], None if ignore is None else _as_values(ignore)[0])


def labels_of(content: Mapping[str, Any]) -> Labels:
    """Labels from the content of a dataset.json, without `ignore`, which is no output channel.

    Raises:
        DatasetError: background is not 0, labels are not 0, 1, 2, …, or regions have no
            `regions_class_order` of their number.
        KeyError: there is no `labels`.
    """
    entries = {str(name): _as_values(value) for name, value in content["labels"].items() if name != "ignore"}
    if entries.get("background") != (BACKGROUND,):
        raise DatasetError(f"label 'background' must be 0, not {content['labels'].get('background')!r}.")
    if any(len(values) > 1 for values in entries.values()):
        return _regions(entries, content.get("regions_class_order"))
    by_value = sorted((values[0], name) for name, values in entries.items())
    values = tuple(value for value, _ in by_value)
    if values != tuple(range(len(values))):
        raise DatasetError(f"labels must be numbered 0, 1, 2, … without gaps; found {list(values)}.")
    return Labels(tuple(name for _, name in by_value), values, tuple((value,) for value in values))


def labels_of_values(values: Iterable[int]) -> Labels:
    """Labels named by their values, which may have gaps; the background is 0."""
    known = (BACKGROUND, *sorted(set(values) - {BACKGROUND}))
    names = ("background", *map(str, known[1:]))
    return Labels(names, known, tuple((value,) for value in known))


def _as_values(value: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),)


def _regions(entries: dict[str, tuple[int, ...]], class_order: Sequence[int] | None) -> Labels:
    regions = {name: values for name, values in entries.items() if set(values) != {BACKGROUND}}
    if class_order is None or len(class_order) != len(regions):
        raise DatasetError(
            f"regions_class_order must hold one value for each of the regions {list(regions)}, "
            f"not {class_order!r}."
        )
    return Labels(
        tuple(regions), tuple(int(v) for v in class_order), tuple(regions.values()), is_regions=True
    )


def dataset_json_beside(folders: Iterable[Path]) -> Path | None:
    """Find the dataset.json in one of the folders, or in the model folder of a validation folder."""
    for folder in folders:
        for place in (folder, folder.resolve().parent.parent):
            if (place / "dataset.json").is_file():
                return place / "dataset.json"
    return None


def dataset_json_of(folders: Sequence[Path]) -> Path:
    """Find the dataset.json as `dataset_json_beside` does.

    Raises:
        UsageError: there is none.
    """
    found = dataset_json_beside(folders)
    if found is None:
        raise UsageError(f"No dataset.json in {', '.join(map(str, folders))}. Name the data set's with -d.")
    return found


def check_same_labels(dataset_file: Path, output: Path, *, overwrite: bool) -> None:
    """Refuse to write to a folder whose dataset.json has other labels, since later verbs read that file.

    Raises:
        UsageError: `output` has such a dataset.json.
    """
    target = output / "dataset.json"
    if overwrite or not target.exists():
        return
    try:
        there = read_dataset(target).labels
    except DatasetError:
        return
    wanted = read_dataset(dataset_file).labels
    if there != wanted:
        raise UsageError(
            f"{target} has the labels {there.describe()}, but {dataset_file} has {wanted.describe()}, and "
            "later verbs read what is beside them. Choose another folder with -o, or replace it with "
            "--overwrite."
        )


def keep_dataset_json(dataset_file: Path, output: Path, *, overwrite: bool = False) -> None:
    """Copy the dataset.json beside the segmentations, where later verbs and nnU-Net look for it."""
    target = output / "dataset.json"
    if not target.exists() or (overwrite and not target.samefile(dataset_file)):
        with written_whole(target) as part:
            part.write_bytes(dataset_file.read_bytes())
