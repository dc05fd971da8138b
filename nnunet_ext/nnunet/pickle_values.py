"""Values of a pickle: plain ones, numpy arrays, and stand-ins for tensors and other objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

CODES = frozenset(
    {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
)  # of numpy's types that are numbers
DTYPE_CLASSES = {
    "BoolDType": "b1", "Int8DType": "i1", "Int16DType": "i2", "Int32DType": "i4", "Int64DType": "i8",
    "UInt8DType": "u1", "UInt16DType": "u2", "UInt32DType": "u4", "UInt64DType": "u8",
    "Float16DType": "f2", "Float32DType": "f4", "Float64DType": "f8",
}  # fmt: skip
PLAIN_KEYS = (str, int, float, bytes, type(None))


class Unknown(NamedTuple):
    """Stands for an object of an unknown class; instructions of the pickle on it have no effect."""

    name: str


class Storage(NamedTuple):
    """Stands for the numbers of a tensor in a checkpoint: their type in torch, and their entry in the zip."""

    kind: str
    key: str


@dataclass(frozen=True)
class PickledName:
    """The name of a class or function in a pickle, which is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class PickledDtype:
    """A numpy type in a pickle, whose byte order follows after it was begun."""

    code: str
    order: str = "<"

    def numpy(self) -> Any:
        """The type as numpy's."""
        import numpy as np

        return np.dtype(self.order + self.code)


@dataclass
class PickledArray:
    """An array whose numbers follow later in the pickle."""

    value: Any = None


def as_key(value: Any) -> Any:
    """Check a key, whose hash must be quickly made: tuples of tuples, which may double, are refused."""
    if isinstance(value, PLAIN_KEYS) or (
        isinstance(value, tuple) and all(isinstance(one, PLAIN_KEYS) for one in value)
    ):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value
    raise ValueError(f"it has a {type(value).__name__} as a key")


def byte_order_of(state: Any) -> str:
    """The byte order in the state of a dtype: `(3, '<', None, None, None, -1, -1, 0)`."""
    order, *fields = state[1:5]
    if order not in ("<", ">", "|", "=") or any(field is not None for field in fields):
        raise ValueError("it holds an array whose type is not a plain number's")
    return str(order)


def array_of(state: Any) -> Any:
    """The array of its state: `(1, shape, dtype, is_fortran, bytes)`."""
    shape, dtype, is_fortran, data = state[-4:]
    return _numbers(data, dtype, shape, "F" if is_fortran else "C")


def _numbers(data: Any, dtype: Any, shape: Sequence[int], order: str = "C", *_: Any) -> Any:
    import numpy as np

    if not isinstance(dtype, PickledDtype) or not isinstance(data, (bytes, bytearray)):
        raise ValueError("it holds an array of objects, not of numbers")
    kind = dtype.numpy()
    if any(not isinstance(size, int) or size < 0 for size in shape) or order not in ("C", "F"):
        raise ValueError(f"it holds an array of the shape {shape!r}")
    n_bytes = math.prod(shape) * kind.itemsize
    if n_bytes != len(data):
        raise ValueError(f"it holds an array of {len(data)} bytes where its shape needs {n_bytes}")
    return np.frombuffer(bytearray(data), kind).reshape(tuple(shape), order=order)  # type: ignore[call-overload]


def _scalar(dtype: Any, data: Any) -> Any:
    return _numbers(data, dtype, ())[()]


def _dtype(code: Any, *_: Any) -> PickledDtype:
    plain = str(code).lstrip("<>=|")
    if plain not in CODES:
        raise ValueError(f"it holds numbers of the type {str(code)[:40]!r}")
    return PickledDtype(plain)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it holds bytes in the encoding {encoding!r}")
    return text.encode("latin-1")


def _bytes(data: Any = b"", *_: Any) -> bytes:
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError(f"it makes bytes of a {type(data).__name__}")
    return bytes(data)


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"it makes a set of a {type(items).__name__}")
    return set(map(as_key, items))


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return {as_key(key): value for key, value in pairs}


def _first(first: Any, *_: Any) -> Any:
    return first


NUMPY_AND_BUILTINS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _dtype,
    **{f"numpy.{core}.multiarray._reconstruct": lambda *_: PickledArray() for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _numbers for core in ("core", "_core")},
    "collections.OrderedDict": _ordered,
    "_codecs.encode": _encoded,
    **{f"{home}.set": _set for home in ("builtins", "__builtin__")},
    **{f"{home}.frozenset": lambda *items: frozenset(_set(*items)) for home in ("builtins", "__builtin__")},
    **{f"{home}.bytes": _bytes for home in ("builtins", "__builtin__")},
    **{f"{home}.bytearray": lambda *data: bytearray(_bytes(*data)) for home in ("builtins", "__builtin__")},
    **{f"{home}.complex": complex for home in ("builtins", "__builtin__")},
    **{f"{home}.slice": slice for home in ("builtins", "__builtin__")},
}
TORCH_REBUILDERS: dict[str, Callable[..., Any]] = {
    f"torch._utils.{name}": _first
    for name in (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    )
}
