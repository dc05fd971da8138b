"""By whose Dice a training is judged, which epochs have one, and which labels keep a best of their own.

All is told from nnU-Net's logged history, which stands in each checkpoint: a resumed training needs no
state of its own to go on judging as before.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from nnunet_ext.errors import SettingsError
from nnunet_ext.metrics.overlap import foreground_names
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.trainers.policies.early_stopping import earned_average

MEAN, WORST = "mean", "worst"
RARE, ALL, NONE = "rare", "all", "none"
# Below it a label is not found at all, and there is nothing to keep.
LEAST_LABEL_DICE = 0.01
LONGEST_NAME = 80


def is_validated(epoch: int, val_every: int, n_epochs: int) -> bool:
    """Whether an epoch is validated: the last of each `val_every`, and the last of all."""
    return (epoch + 1) % val_every == 0 or epoch == n_epochs - 1


def n_validated(n_done: int, val_every: int, n_epochs: int) -> int:
    """How many of the first `n_done` epochs are validated."""
    return sum(is_validated(epoch, val_every, n_epochs) for epoch in range(n_done))


def check_monitor(monitor: str, labels: Labels) -> None:
    """Refuse a monitor that is no label.

    Raises:
        SettingsError: it is neither mean nor worst nor a label's name or value.
    """
    if monitor not in (MEAN, WORST):
        _find(monitor, labels, f"monitor is {monitor!r}; allowed are {MEAN}, {WORST}")


def monitored_history(monitor: str, labels: Labels, dices: Sequence[Sequence[float]]) -> list[float]:
    """The moving average of the Dice by which a training is judged, one value an epoch.

    Args:
        monitor: `worst`, or a label by its name or value.
        labels: those of the data set.
        dices: one Dice a foreground label and epoch; NaN where there is none.

    Returns:
        The label's average; of `worst` the lowest of the labels' averages. Each label has an average of
        its own, so that an epoch in which the worst was not seen does not look like a rise. NaN until
        the first finite Dice.

    Raises:
        SettingsError: the monitor is no label.
    """
    if monitor == WORST:
        averages = [label_history(i, dices) for i in range(len(labels.foreground))]
        return [min(filter(math.isfinite, one), default=math.nan) for one in zip(*averages, strict=True)]
    return label_history(_find(monitor, labels, f"monitor is {monitor!r}; allowed are mean, worst"), dices)


def label_history(i: int, dices: Sequence[Sequence[float]]) -> list[float]:
    """The average, begun at 0, of the Dice of the foreground label at place `i`, one value an epoch."""
    return earned_average([float(dice[i]) for dice in dices])


def labels_with_bests(
    asked: str, labels: Labels, holders: Mapping[str, Sequence[str]], n_cases: int
) -> list[str]:
    """Labels that have a best checkpoint of their own.

    Args:
        asked: `rare`, `all`, `none`, or names or values with commas between them. Rare are labels that
            fewer than half of the cases hold; where there is one label only, its best is the best.
        labels: those of the data set.
        holders: by label, the training cases that hold it; read for `rare` only.
        n_cases: training cases.

    Raises:
        SettingsError: a name is none of the labels.
    """
    names = foreground_names(labels)
    if asked == NONE:
        return []
    if asked == ALL:
        return names
    if asked == RARE:
        rare = [name for name in names if 0 < 2 * len(holders.get(name, ())) < n_cases]
        return rare if len(names) > 1 else []
    said = f"label_bests is {asked!r}; allowed are {RARE}, {ALL}, {NONE}"
    found = {_find(one.strip(), labels, said) for one in asked.split(",")}
    return [names[i] for i in sorted(found)]


def _find(key: str, labels: Labels, said: str) -> int:
    """The place of a label among the foreground."""
    i = labels.find(key)
    if i is None or i not in labels.foreground:
        known = ", ".join(f"{labels.names[i]} ({labels.values[i]})" for i in labels.foreground)
        raise SettingsError(f"{said} and the labels of this data set: {known}. {key!r} is none of them.")
    return labels.foreground.index(i)


def best_files(names: Iterable[str]) -> dict[str, str]:
    """By label, the name of its checkpoint: `checkpoint_best_LABEL.pth`.

    What a file name cannot hold becomes `_`; names that a disk would take for one another, as those that
    differ in case only, get a number.
    """
    files: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name))[:LONGEST_NAME]
        candidate, number = stem, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{stem}_{number}"
        taken.add(candidate.casefold())
        files[name] = f"checkpoint_best_{candidate}.pth"
    return files
