"""The properties that nnU-Net pickles beside probabilities, read without running what a pickle may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.nnunet.plain_pickle import read_pickle_file


def read_properties(path: Path) -> dict[str, Any]:
    """Read the properties that nnU-Net pickled for a case.

    Raises:
        ProbabilitiesError: the file is damaged, holds no dictionary, or asks for anything but plain
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
