"""Validation of a training: validated epochs, the Dice that counts, labels with a best checkpoint.

All is computed from nnU-Net's logged history, which each checkpoint holds, so a continued training needs no
further state.
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
LEAST_LABEL_DICE = 0.01  # below it a label is not found at all, and its checkpoint is not worth keeping
LONGEST_NAME = 80


def is_validated(epoch: int, val_every: int, n_epochs: int) -> bool:
    """Whether an epoch is validated: each `val_every`-th epoch and the last one are."""
    return (epoch + 1) % val_every == 0 or epoch == n_epochs - 1


def n_validated(n_done: int, val_every: int, n_epochs: int) -> int:
    """Count the validated epochs among the first `n_done`."""
    return sum(is_validated(epoch, val_every, n_epochs) for epoch in range(n_done))


def check_monitor(monitor: str, labels: Labels) -> None:
    """Check the setting `monitor`.

    Raises:
        SettingsError: it is neither `mean` nor `worst` nor a label's name or value.
    """
    if monitor not in (MEAN, WORST):
        _find(monitor, labels, f"monitor is {monitor!r}; allowed are {MEAN}, {WORST}")


def monitored_history(monitor: str, labels: Labels, dices: Sequence[Sequence[float]]) -> list[float]:
    """Compute the moving average of the Dice by which a training is judged.

    Args:
        monitor: `worst`, or a label by its name or value.
        labels: labels of the data set.
        dices: by epoch, one Dice for each foreground label; NaN where there is none.

    Returns:
        One value an epoch: the label's average, or for `worst` the lowest of the labels' averages. Each
        label has its own average, so an epoch in which the worst label was not seen is no rise. NaN until
        the first finite Dice.

    Raises:
        SettingsError: the monitor is no label.
    """
    if monitor == WORST:
        averages = [label_history(i, dices) for i in range(len(labels.foreground))]
        return [min(filter(math.isfinite, one), default=math.nan) for one in zip(*averages, strict=True)]
    return label_history(_find(monitor, labels, f"monitor is {monitor!r}; allowed are mean, worst"), dices)


def label_history(i: int, dices: Sequence[Sequence[float]]) -> list[float]:
    """Compute the moving average, begun at 0, of the `i`-th foreground label's Dice, one value an epoch."""
    return earned_average([float(dice[i]) for dice in dices])


def labels_with_bests(
    asked: str, labels: Labels, holders: Mapping[str, Sequence[str]], n_cases: int
) -> list[str]:
    """Choose the labels that have a best checkpoint of their own.

    Args:
        asked: `rare`, `all`, `none`, or labels by names or values with commas between them. Rare are labels
            that fewer than half of the cases contain; none where there is one foreground label only, whose
            best is checkpoint_best.
        labels: labels of the data set.
        holders: by label, the training cases that contain it; used for `rare` only.
        n_cases: number of training cases.

    Raises:
        SettingsError: a name is none of the labels'.
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
    """Find the place of a label among the foreground labels."""
    i = labels.find(key)
    if i is None or i not in labels.foreground:
        known = ", ".join(f"{labels.names[i]} ({labels.values[i]})" for i in labels.foreground)
        raise SettingsError(f"{said} and the labels of this data set: {known}. {key!r} is none of them.")
    return labels.foreground.index(i)


def best_files(names: Iterable[str]) -> dict[str, str]:
    """Make the name of each label's checkpoint: `checkpoint_best_LABEL.pth`.

    Letters that a file name cannot hold become `_`. Names that differ in case only, which some file systems
    take for the same, get a number.
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
