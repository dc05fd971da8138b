"""Plain values from a pickle, read without calling the functions that the pickle names.

A pickle is a program: it can call any function, ask for any amount of memory, and build a value that takes
without end to compare or to walk through. Here its instructions are carried out one by one, on plain values
and numpy arrays alone: no function is looked up by its name, no array is larger than the bytes that the
pickle holds for it, only texts, numbers and tuples of them are keys, and the depth and number of values are
bounded by the pickle's size.

Source: the opcodes of Python's `pickletools`, and what numpy and torch write by them.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.files.documents import check_is_file
from nnunet_ext.nnunet.pickle_machine import PickleMachine
from nnunet_ext.nnunet.pickle_values import (
    PLAIN_KEYS,
    PickledArray,
    PickledDtype,
    PickledName,
    Storage,
    Unknown,
)

MAX_PICKLE_BYTES = 1 << 28
MAX_DEPTH = 64
SPARE_VALUES = 10_000  # values that a pickle may hold beyond its number of bytes


def read_pickle_file(path: Path) -> Any:
    """Read the plain values of a pickle file.

    Raises:
        ValueError: as `load_plain`; or the file holds more than 256 MiB.
        OSError: it does not exist, or cannot be opened now.
    """
    size = check_is_file(path)
    if size > MAX_PICKLE_BYTES:
        raise ValueError(f"it has {size >> 20} MiB, and at most {MAX_PICKLE_BYTES >> 20} MiB are read")
    return load_plain(path.read_bytes())


def load_plain(data: bytes, *, with_unknown: bool = False) -> Any:
    """Read the plain values of a pickle.

    Args:
        data: the pickle.
        with_unknown: whether to put `Unknown` in place of other objects, and `Storage` in place of tensors,
            instead of refusing the pickle.

    Raises:
        ValueError: it is damaged, names something that is neither plain nor numpy's, is nested more than
            64 levels deep, or has more values than its size allows.
    """
    machine = PickleMachine(with_unknown)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is damaged: {type(error).__name__}: {error}") from None
    return _Resolution(len(data) + SPARE_VALUES, with_unknown).resolve(machine.result())


@dataclass
class _Resolution:
    """Replaces unfinished arrays in a value by numpy arrays, and bounds the number of values."""

    n_left: int
    with_unknown: bool

    def resolve(self, value: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        match value:
            case PickledArray():
                if value.value is None:
                    raise ValueError("it is damaged: an array has no numbers")
                return value.value
            case Unknown() | Storage():
                return value
            case PickledName() | PickledDtype():
                if not self.with_unknown:
                    raise ValueError(f"it holds {value}, and only plain values and numpy are allowed")
                return Unknown(str(value))
            case slice() if not all(isinstance(one, PLAIN_KEYS) for one in _ends(value)):
                raise ValueError("it holds a slice that is none of numbers")
            case dict():
                self._take(len(value))
                return {key: self.resolve(one, depth + 1) for key, one in value.items()}
            case list() | tuple():
                self._take(len(value))
                return type(value)(self.resolve(one, depth + 1) for one in value)
        return value

    def _take(self, n: int) -> None:
        self.n_left -= n
        if self.n_left < 0:
            raise ValueError("it holds more values than its size allows, the same ones again and again")


def _ends(value: slice) -> tuple[Any, Any, Any]:
    return value.start, value.stop, value.step
