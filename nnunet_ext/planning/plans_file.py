"""Plans files of a data set: reading, checks of their names, and copies of those that planning replaces."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.nnunet.model_folder import SEPARATOR
from nnunet_ext.nnunet.plans import read_plans_if_there
from nnunet_ext.planning.shared_data import STOCK_PLANS


def plans_path(folder: Path, plans_name: str) -> Path:
    """Path of the plans in a data set's preprocessed folder."""
    return folder / f"{plans_name}.json"


def check_plans_name(folder: Path, plans_name: str, planner: str) -> None:
    """Refuse a name of plans that belongs to another planner or that nnU-Net cannot use.

    Raises:
        UsageError: the name is `nnUNetPlans`, the existing plans of that name are another planner's, or
            the name cannot be part of a folder's name `TRAINER__PLANS__CONFIGURATION`.
        DatasetError: the existing plans of that name are damaged.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", plans_name) or SEPARATOR in plans_name:
        raise UsageError(
            f"{plans_name!r} cannot name plans: use letters, digits and - _ . + with no two _ in a row."
        )
    there = read_plans_if_there(plans_path(folder, plans_name))
    owner = "nnU-Net's own planner" if there is None else there.get("experiment_planner_used")
    if plans_name == STOCK_PLANS or (there is not None and owner != planner):
        raise UsageError(
            f"{plans_name} are the plans of {owner}, and {planner} would overwrite them: give another name."
        )


def set_aside(path: Path) -> Path | None:
    """Copy a plans file to the next free name `NAME_old1.json`, under which nnU-Net can use it too.

    Returns:
        Path of the copy; None where there is no file to copy.
    """
    if not path.exists():
        return None
    names = (path.with_name(f"{path.stem}_old{i}.json") for i in itertools.count(1))
    copy = next(name for name in names if not name.exists())
    with written_whole(copy) as part:
        part.write_bytes(path.read_bytes())
    return copy
