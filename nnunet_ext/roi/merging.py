"""Merge labels: the labels of the new dataset.json, and the new value of each old label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import SegmentationError, UsageError
from nnunet_ext.images.image import segmentation_type
from nnunet_ext.nnunet.dataset_json import BACKGROUND, Dataset

BACKGROUND_NAME = "background"
IGNORE_NAME = "ignore"
RESERVED = (BACKGROUND_NAME, IGNORE_NAME)
Merges = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class LabelMap:
    """The map from the labels of a data set to those of another.

    Attributes:
        labels: labels of the new dataset.json, by name.
        values: the new value of each old one.
    """

    labels: Mapping[str, Any]
    values: Mapping[int, int]

    @property
    def is_identity(self) -> bool:
        """Whether every value stays as it is."""
        return all(old == new for old, new in self.values.items())

    def apply(self, segmentation: NDArray[np.integer[Any]], what: str) -> NDArray[np.integer[Any]]:
        """Return the segmentation with its new values, as uint8 where they allow it.

        Raises:
            SegmentationError: it holds a value that the dataset.json does not know.
        """
        known = np.array(sorted(self.values))
        there = np.unique(segmentation)
        strange = np.setdiff1d(there, known)
        if strange.size:
            raise SegmentationError(
                f"{what} holds {strange[:5].tolist()}, which the dataset.json does not know; "
                f"its values are {known.tolist()}."
            )
        dtype = segmentation_type(self.values.values())
        table = np.zeros(int(known.max()) + 1, dtype)
        table[known] = [self.values[int(value)] for value in known]
        return table[segmentation]


def parse_merges(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Parse `liver=liver,tumour` as `{"liver": ("liver", "tumour")}`.

    Raises:
        UsageError: one is not of that form, or a name is made or merged twice.
    """
    merges: dict[str, tuple[str, ...]] = {}
    for text in texts:
        new, equals, old = text.partition("=")
        parts = tuple(part.strip() for part in old.split(",") if part.strip())
        if not (equals and new.strip() and parts):
            raise UsageError(f"--merge {text} is not NEW=A,B: a new label and those that become it.")
        if new.strip() in merges:
            raise UsageError(f"--merge makes the label {new.strip()} twice; name all its parts at once.")
        merges[new.strip()] = parts
    merged = [part for parts in merges.values() for part in parts]
    twice = sorted({part for part in merged if merged.count(part) > 1})
    if twice:
        raise UsageError(f"--merge: {', '.join(twice)} cannot be part of two labels.")
    return merges


def merge_labels(dataset: Dataset, merges: Merges, entries: Mapping[str, Any]) -> LabelMap:
    """Make the map of a merge; without merges, the map that changes nothing.

    Args:
        dataset: the old labels.
        merges: new labels with the old ones that become them; the others stay.
        entries: `labels` of the old dataset.json, which regions keep.

    Returns:
        New labels in the order of the lowest value of their parts, consecutive, `ignore` last.

    Raises:
        UsageError: a name is unknown, taken or background, or the data set is of regions.
    """
    labels = dataset.labels
    if not merges:
        covered = {value for values in labels.covered for value in values}
        kept = {BACKGROUND, *covered, *labels.values, *([dataset.ignore] if dataset.ignore else [])}
        return LabelMap(dict(entries), {value: value for value in kept})
    if labels.is_regions:
        raise UsageError(
            "--merge: this data set is of regions, which are unions of labels already. Leave --merge out, "
            "and choose the regions in its dataset.json."
        )
    old = {name: values[0] for name, values in labels.covered_by_name.items()}
    _check_names(old, merges)
    new_of = {part: new for new, parts in merges.items() for part in parts}
    names = list(dict.fromkeys(new_of.get(name, name) for name in sorted(old, key=old.__getitem__)))
    new_labels = {BACKGROUND_NAME: BACKGROUND, **{name: n for n, name in enumerate(names, start=1)}}
    values = {BACKGROUND: BACKGROUND} | {v: new_labels[new_of.get(name, name)] for name, v in old.items()}
    if dataset.ignore is not None:
        new_labels[IGNORE_NAME] = len(new_labels)
        values[dataset.ignore] = new_labels[IGNORE_NAME]
    return LabelMap(new_labels, values)


def _check_names(old: Mapping[str, int], merges: Merges) -> None:
    parts = [part for of_one in merges.values() for part in of_one]
    unknown = [part for part in parts if part not in old]
    if unknown:
        raise UsageError(f"--merge: there is no label {', '.join(unknown)}; there are {', '.join(old)}.")
    taken = [name for name in merges if (name in old and name not in parts) or name in RESERVED]
    if taken:
        raise UsageError(
            f"--merge: the name {', '.join(taken)} is taken by a label that is not merged; choose another."
        )
