"""How a data set of crops was made, as its dataset.json tells it to the models trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.documents import read_json
from nnunet_ext.errors import DatasetError, UsageError

ENTRY = "roi"
MARGIN_MM = 20.0
JITTER_MM = 10.0


@dataclass(frozen=True)
class BoxSettings:
    """How boxes come about.

    Attributes:
        margin_mm: around what the box is drawn around.
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
        """As plain values, tuples as lists."""
        return {**asdict(self), "roi_labels": list(self.roi_labels)}


def values_of_region(covered: Mapping[str, tuple[int, ...]], names: tuple[str, ...]) -> tuple[int, ...]:
    """The values of a segmentation that make the region.

    Args:
        covered: the values of each label or region, by its name.
        names: of those that count; none are all.

    Raises:
        UsageError: a name is unknown.
    """
    unknown = [name for name in names if name not in covered]
    if unknown:
        raise UsageError(f"--roi_labels {', '.join(unknown)}: the labels are {', '.join(covered)}.")
    return tuple(sorted({value for name in names or covered for value in covered[name]}))


def settings_of_model(folder: Path) -> BoxSettings | None:
    """How the crops were made that a model was trained on; None where its data set is none of crops.

    nnU-Net copies the dataset.json of the data set into the folder of each model.

    Raises:
        DatasetError: the model's dataset.json says something else there.
    """
    path = folder / "dataset.json"
    try:
        entry = read_json(path).get(ENTRY)
        if entry is None or entry.get("whole"):
            return None
        return BoxSettings(float(entry["margin_mm"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} has no readable entry {ENTRY!r}: {error!r}") from error
