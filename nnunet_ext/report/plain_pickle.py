"""Plain values of a pickle, of which no code is run.

A pickle can name any function to be called. Here only lists, dictionaries, numbers and texts are made of
it; whatever else it names stands for nothing.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import IO, Any, ClassVar


def read_plain_pickle(file: IO[bytes]) -> Any:
    """Read a pickle; objects in it that are no plain values take the place of nothing.

    Raises:
        Exception: of any kind, as the file is damaged.
    """
    return _PlainUnpickler(file).load()


class _Nothing:
    """Stands for every object of a checkpoint that is no plain value, and takes all that is done to it."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> _Nothing:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __call__(self, *_args: Any, **_kwargs: Any) -> _Nothing:
        return self

    def __setstate__(self, _state: Any) -> None:
        pass

    def __setitem__(self, _key: Any, _value: Any) -> None:
        pass

    def append(self, _value: Any) -> None:
        """Take a value."""

    def extend(self, _values: Any) -> None:
        """Take values."""

    add = append


class _Dictionary(dict[Any, Any]):
    """An OrderedDict's content; a child of dict takes the attributes that torch gives it."""


class _Dtype:
    """A numpy type by its code, as `f4`."""

    def __init__(self, code: str, *_flags: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.order = state[1]


_FORMATS = {"f2": "e", "f4": "f", "f8": "d", "i4": "i", "i8": "q", "u4": "I", "u8": "Q", "b1": "?"}


def _scalar(dtype: _Dtype, data: bytes) -> float:
    order = ">" if dtype.order == ">" else "<"
    value: float = struct.unpack(order + _FORMATS[dtype.code], data)[0]
    return value


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(encoding)
    return text.encode("latin-1")


class _PlainUnpickler(pickle.Unpickler):
    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): _Dictionary,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "scalar"): _scalar,
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _encoded,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        return self._KNOWN.get((module_name, global_name), _Nothing)

    def persistent_load(self, pid: Any) -> Any:
        return _Nothing()
