"""The properties that nnU-Net pickles beside probabilities, read without running what a pickle may hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.errors import ProbabilitiesError, is_of_the_system
from nnunet_ext.files import check_regular

PLAIN_TYPES = frozenset({"bytes", "set", "frozenset", "complex", "bytearray", "range", "slice"})
NUMPY_NAMES = {
    "numpy": {"ndarray", "dtype"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.dtypes": {name for name in dir(np.dtypes) if name.endswith("DType")}
    if hasattr(np, "dtypes")
    else set(),
    "collections": {"OrderedDict"},
    "_codecs": {"encode"},
}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles plain values and numpy arrays, and refuses every other name before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        is_plain = module in ("builtins", "__builtin__") and name in PLAIN_TYPES
        if is_plain or name in NUMPY_NAMES.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}, and only plain values and numpy are allowed"
        )


def read_properties(path: Path) -> dict[str, Any]:
    """Read the properties that nnU-Net pickled for a case.

    Raises:
        ProbabilitiesError: the file is damaged, holds no dictionary, or asks for anything but plain
            values and numpy arrays.
        OSError, MemoryError: the system does not let it be read now.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            properties = _PlainUnpickler(file).load()
    except Exception as error:  # damaged pickles raise almost anything
        if is_of_the_system(error):
            raise
        raise ProbabilitiesError(f"{path} was not read: {error}.") from error
    if not isinstance(properties, dict):
        raise ProbabilitiesError(f"{path} holds a {type(properties).__name__}, not nnU-Net's properties.")
    return properties
