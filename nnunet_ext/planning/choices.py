"""Choices of the verb `plan` and the check that a data set can be planned, without the import of torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.nnunet.folders import PREPROCESSED_VARIABLE, RAW_VARIABLE, find_dataset
from nnunet_ext.nnunet.plans import FINGERPRINT, check_fingerprint
from nnunet_ext.nnunet.splits import SPLITS, are_folds_of, read_splits

Supervision = Literal["nested", "pyramid"]
SUPERVISIONS: tuple[Supervision, ...] = ("nested", "pyramid")
PLANNERS = {
    "UNetPlusPlusPlanner": "nnUNetUNetPlusPlusPlans",
    "ResEncUNetPlusPlusPlanner": "nnUNetResEncUNetPlusPlusPlans",
}
MAX_STAGES = 6  # 8 stages, as nnU-Net plans for 512 x 512, would be 28 nodes and 96 million weights
MIN_STAGES = 2


def find_plannable(dataset: str, environment: Mapping[str, str] = os.environ) -> str:
    """Find the name of a data set, and check that it can be planned.

    Args:
        dataset: number or name of the data set.
        environment: environment variables, which name nnU-Net's folders.

    Raises:
        UsageError: a folder's variable is not set, or no data set or several have that number.
        DatasetError: the data set has no raw data or no fingerprint, its dataset.json, fingerprint or splits
            are damaged, or its raw folder holds other splits than its preprocessed one.
    """
    unset = [variable for variable in (RAW_VARIABLE, PREPROCESSED_VARIABLE) if not environment.get(variable)]
    if unset:
        raise UsageError(f"Not set: {', '.join(unset)}. Set nnU-Net's folders, as `nnunet_ext env` shows.")
    found = find_dataset(dataset, environment)
    if found.raw is None or not (found.raw / "dataset.json").is_file():
        where = found.raw or environment[RAW_VARIABLE]
        raise DatasetError(f"{found.name} has no dataset.json in {where}: planning needs its raw data.")
    read_dataset(found.raw / "dataset.json")
    if found.preprocessed is None or not (found.preprocessed / FINGERPRINT).is_file():
        raise DatasetError(
            f"{found.name} has no fingerprint in {found.preprocessed or environment[PREPROCESSED_VARIABLE]}. "
            f"Make it first: nnUNetv2_extract_fingerprint -d {dataset}"
        )
    check_fingerprint(found.preprocessed / FINGERPRINT, dataset)
    _check_splits(found.raw / SPLITS, found.preprocessed / SPLITS)
    return found.name


def _check_splits(raw: Path, preprocessed: Path) -> None:
    if not raw.is_file() or not preprocessed.is_file():
        return
    if not are_folds_of(read_splits(raw), read_splits(preprocessed)):
        raise DatasetError(
            f"{raw} holds other folds than {preprocessed}, and nnU-Net plans only where they agree. Rename "
            "the first, which nnU-Net copies only where the second is missing, or put back the second."
        )
