"""Plain values of a pickle, made without running what the pickle names.

A pickle is a program: it can call any function, ask for any amount of memory, and build a value that takes
for ever to be compared or walked through. Here its instructions are carried out one by one, on plain values
and numpy arrays alone: no function is looked up by its name, no array is larger than the bytes that the
pickle holds for it, only texts, numbers and tuples of them are keys, and depth and number of values are
bounded by the pickle's size.

Source: the opcodes of Python's `pickletools`, and what numpy and torch write by them.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nnunet_ext.files.documents import check_is_file

MAX_PICKLE_BYTES = 1 << 28
MAX_DEPTH = 64
MAX_INT_BITS = 128
SPARE_VALUES = 10_000  # that a small pickle may repeat
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
    """Stands for an object of a class that is not known; what the pickle does to it has no effect."""

    name: str


class Storage(NamedTuple):
    """A tensor's numbers in a checkpoint: their type's name in torch, and their file in the zip."""

    kind: str
    key: str


def read_pickle_file(path: Path) -> Any:
    """The plain values of a pickle file.

    Raises:
        ValueError: as `load_plain`; or the file holds more than 256 MiB.
        OSError: it does not exist, or cannot be opened now.
    """
    size = check_is_file(path)
    if size > MAX_PICKLE_BYTES:
        raise ValueError(f"it has {size >> 20} MiB, and at most {MAX_PICKLE_BYTES >> 20} MiB are read")
    return load_plain(path.read_bytes())


def load_plain(data: bytes, *, with_unknown: bool = False) -> Any:
    """The plain values of a pickle.

    Args:
        data: the pickle.
        with_unknown: put `Unknown` for whatever else it names, and `Storage` for a tensor, instead of
            refusing the pickle.

    Raises:
        ValueError: it is damaged, names something that is neither plain nor numpy's, is nested more than
            64 levels deep, or has more values than its size allows.
    """
    machine = _Machine(with_unknown)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is damaged: {type(error).__name__}: {error}") from None
    return _Resolution(len(data) + SPARE_VALUES, with_unknown).resolve(machine.result())


@dataclass(frozen=True)
class _Name:
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class _Dtype:
    code: str
    order: str = "<"

    def numpy(self) -> Any:
        import numpy as np

        return np.dtype(self.order + self.code)


@dataclass
class _Array:
    """An array whose numbers the pickle gives after it was begun."""

    value: Any = None


class _Machine:
    """Carries out the instructions of a pickle."""

    def __init__(self, with_unknown: bool) -> None:
        self._with_unknown = with_unknown
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._is_over = False

    def result(self) -> Any:
        """What is left when the pickle has ended."""
        if not self._is_over or len(self._stack) != 1:
            raise ValueError("it is damaged: it ends before its value is whole")
        return self._stack[0]

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _PUSHED:
            if isinstance(argument, int) and argument.bit_length() > MAX_INT_BITS:
                raise ValueError(f"it holds a number of {argument.bit_length()} bits")
            self._stack.append(argument)
        elif name in _MADE:
            self._stack.append(_MADE[name]())
        elif name in _IGNORED:
            return
        else:
            _STEPS[name](self, argument)

    def _to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _pop_mark(self, _: Any) -> None:
        self._to_mark()

    def _dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _list(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append(items)

    def _tuple(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append(tuple(items))

    def _tuple_of(self, n: int) -> None:
        self._stack[-n:] = [tuple(self._stack[-n:])]

    def _dict(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append({})
        self._put(items)

    def _frozenset(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append(frozenset(map(_as_key, items)))

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self, _: Any) -> None:
        self._extend(self._to_mark())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)
        elif not isinstance(self._stack[-1], Unknown):
            raise ValueError("it is damaged: it appends to what is no list")

    def _setitem(self, _: Any) -> None:
        items = self._stack[-2:]
        del self._stack[-2:]
        self._put(items)

    def _setitems(self, _: Any) -> None:
        self._put(self._to_mark())

    def _put(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], dict):
            self._stack[-1].update(zip(map(_as_key, items[::2]), items[1::2], strict=True))
        elif not isinstance(self._stack[-1], Unknown):
            raise ValueError("it is damaged: it puts entries into what is no dictionary")

    def _additems(self, _: Any) -> None:
        items = self._to_mark()
        if isinstance(self._stack[-1], set):
            self._stack[-1].update(map(_as_key, items))
        elif not isinstance(self._stack[-1], Unknown):
            raise ValueError("it is damaged: it adds to what is no set")

    def _get(self, index: Any) -> None:
        self._stack.append(self._memo[int(index)])

    def _save(self, index: Any) -> None:
        self._memo[int(index)] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(_Name(module, name))

    def _stack_global(self, _: Any) -> None:
        module, name = self._stack[-2:]
        del self._stack[-2:]
        self._stack.append(_Name(str(module), str(name)))

    def _reduce(self, _: Any) -> None:
        arguments = self._stack.pop()
        self._stack.append(self._called(self._stack.pop(), tuple(arguments)))

    def _newobj_ex(self, _: Any) -> None:
        self._stack.pop()
        self._reduce(None)

    def _obj(self, _: Any) -> None:
        function, *arguments = self._to_mark()
        self._stack.append(self._called(function, tuple(arguments)))

    def _inst(self, argument: str) -> None:
        arguments = self._to_mark()
        self._global(argument)
        self._stack.append(self._called(self._stack.pop(), tuple(arguments)))

    def _called(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        name = str(function) if isinstance(function, _Name) else ""
        make = _KNOWN.get(name) or (_OF_TORCH.get(name) if self._with_unknown else None)
        if isinstance(function, _Name) and make is not None:
            return make(*arguments)
        if function == _Name("numpy.dtypes", getattr(function, "name", "")):
            return _Dtype(DTYPE_CLASSES[function.name])
        if self._with_unknown:
            return Unknown(name)
        raise ValueError(f"it asks for {name or 'a call'}, and only plain values and numpy are allowed")

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        made = self._stack[-1]
        if isinstance(made, _Dtype):
            made.order = _order_of(state)
        elif isinstance(made, _Array):
            made.value = _array_of(state)
        elif not isinstance(made, dict) and not (self._with_unknown and isinstance(made, (Unknown, Storage))):
            raise ValueError("it is damaged: it gives a state to what has none")

    def _persistent(self, _: Any) -> None:
        identity = self._stack.pop()
        if not self._with_unknown:
            raise ValueError("it refers to another file, and only plain values and numpy are allowed")
        is_tensor = isinstance(identity, tuple) and len(identity) > 2 and isinstance(identity[1], _Name)
        self._stack.append(
            Storage(identity[1].name, str(identity[2])) if is_tensor else Unknown("persistent")
        )

    def _stop(self, _: Any) -> None:
        self._is_over = True


def _as_key(value: Any) -> Any:
    """A value whose hash is quickly made; refuses tuples of tuples, which may double at every level."""
    if isinstance(value, PLAIN_KEYS) or (
        isinstance(value, tuple) and all(isinstance(one, PLAIN_KEYS) for one in value)
    ):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value
    raise ValueError(f"it has a {type(value).__name__} as a key")


def _order_of(state: Any) -> str:
    """The byte order in the state of a dtype: `(3, '<', None, None, None, -1, -1, 0)`."""
    order, *fields = state[1:5]
    if order not in ("<", ">", "|", "=") or any(field is not None for field in fields):
        raise ValueError("it holds an array whose type is not a plain number's")
    return str(order)


def _array_of(state: Any) -> Any:
    """The array of its state: `(1, shape, dtype, is_fortran, bytes)`."""
    shape, dtype, is_fortran, data = state[-4:]
    return _numbers(data, dtype, shape, "F" if is_fortran else "C")


def _numbers(data: Any, dtype: Any, shape: Sequence[int], order: str = "C", *_: Any) -> Any:
    import numpy as np

    if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)):
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


def _dtype(code: Any, *_: Any) -> _Dtype:
    plain = str(code).lstrip("<>=|")
    if plain not in CODES:
        raise ValueError(f"it holds numbers of the type {str(code)[:40]!r}")
    return _Dtype(plain)


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
    return set(map(_as_key, items))


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return {_as_key(key): value for key, value in pairs}


def _first(first: Any, *_: Any) -> Any:
    return first


_KNOWN: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _dtype,
    **{f"numpy.{core}.multiarray._reconstruct": lambda *_: _Array() for core in ("core", "_core")},
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
_OF_TORCH: dict[str, Callable[..., Any]] = {
    f"torch._utils.{name}": _first
    for name in (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    )
}
_PUSHED = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
        "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    }
)  # fmt: skip
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip
_IGNORED = frozenset({"PROTO", "FRAME"})
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark, "POP": _Machine._pop, "POP_MARK": _Machine._pop_mark, "DUP": _Machine._dup,
    "LIST": _Machine._list, "TUPLE": _Machine._tuple, "DICT": _Machine._dict,
    "TUPLE1": lambda one, _: one._tuple_of(1), "TUPLE2": lambda one, _: one._tuple_of(2),
    "TUPLE3": lambda one, _: one._tuple_of(3), "FROZENSET": _Machine._frozenset,
    "APPEND": _Machine._append, "APPENDS": _Machine._appends, "SETITEM": _Machine._setitem,
    "SETITEMS": _Machine._setitems, "ADDITEMS": _Machine._additems,
    "GET": _Machine._get, "BINGET": _Machine._get, "LONG_BINGET": _Machine._get,
    "PUT": _Machine._save, "BINPUT": _Machine._save, "LONG_BINPUT": _Machine._save,
    "MEMOIZE": _Machine._memoize, "GLOBAL": _Machine._global, "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce, "NEWOBJ": _Machine._reduce, "NEWOBJ_EX": _Machine._newobj_ex,
    "OBJ": _Machine._obj, "INST": _Machine._inst, "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent, "STOP": _Machine._stop,
}  # fmt: skip


@dataclass
class _Resolution:
    """Puts arrays in their places, within a number of values."""

    n_left: int
    with_unknown: bool

    def resolve(self, value: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        match value:
            case _Array():
                if value.value is None:
                    raise ValueError("it is damaged: an array has no numbers")
                return value.value
            case Unknown() | Storage():
                return value
            case _Name() | _Dtype():
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
