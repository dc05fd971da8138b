"""nnU-Net's splits_final.json."""

from __future__ import annotations

from pathlib import Path

from nnunet_ext.errors import DatasetError, UsageError

Split = dict[str, list[str]]
SPLITS = "splits_final.json"


def read_splits(path: Path) -> list[Split]:
    """Read a splits_final.json.

    Raises:
        UsageError: it does not exist.
        DatasetError: it is no list of folds with `train` and `val`.
    """
    from nnunet_ext.nnunet.forms import read_splits_form  # pydantic, only where a file is read

    try:
        return read_splits_form(path)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist. Without --audit, splits are made.") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read now: {error.strerror or error}.") from error
    except ValueError as error:
        raise DatasetError(
            f"{path} is no list of folds with 'train' and 'val', as nnU-Net's is: {error}."
        ) from error


def read_splits_if_whole(path: Path) -> list[Split]:
    """The folds of a splits_final.json; empty where there is none, or it cannot be read."""
    try:
        return read_splits(path)
    except (UsageError, DatasetError):
        return []


def are_folds_of(source: list[Split], splits: list[Split]) -> bool:
    """Whether `splits` begin with the folds of `source`; more folds may follow.

    nnU-Net plans a data set only where this holds for the splits in its raw and its preprocessed folder.

    Source: `_maybe_copy_splits_file` of nnU-Net's `ExperimentPlanner`.
    """
    return len(source) <= len(splits) and all(
        set(one[part]) == set(other[part])
        for one, other in zip(source, splits, strict=False)
        for part in ("train", "val")
    )
