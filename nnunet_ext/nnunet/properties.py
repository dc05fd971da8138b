"""The properties that nnU-Net pickles beside probabilities, read without running the pickle as a program."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.files.whole import sync, written_whole
from nnunet_ext.nnunet.plain_pickle import read_pickle_file


def read_properties(path: Path) -> dict[str, Any]:
    """Read the properties of a case, which nnU-Net pickled.

    Raises:
        ProbabilitiesError: the file is damaged, holds no dictionary, or names anything but plain
            values and numpy arrays.
        OSError, MemoryError: the system does not let it be read now.
    """
    try:
        properties = read_pickle_file(path)
    except ValueError as error:
        raise ProbabilitiesError(f"{path} was not read: {error}.") from error
    if not isinstance(properties, dict):
        raise ProbabilitiesError(f"{path} holds a {type(properties).__name__}, not nnU-Net's properties.")
    return properties


def write_properties(properties: Mapping[str, Any], target: Path) -> None:
    """Pickle the properties of a case as nnU-Net does, whole or not at all."""
    with written_whole(target) as part:
        part.write_bytes(pickle.dumps(dict(properties)))
        sync(part)
