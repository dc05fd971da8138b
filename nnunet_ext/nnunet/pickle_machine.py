"""A machine that carries out the instructions of a pickle on plain values and numpy arrays alone.

Source: the opcodes of Python's `pickletools`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnunet_ext.nnunet.pickle_values import (
    DTYPE_CLASSES,
    NUMPY_AND_BUILTINS,
    TORCH_REBUILDERS,
    PickledArray,
    PickledDtype,
    PickledName,
    Storage,
    Unknown,
    array_of,
    as_key,
    byte_order_of,
)

MAX_INT_BITS = 128


class PickleMachine:
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
        self._stack.append(frozenset(map(as_key, items)))

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
            self._stack[-1].update(zip(map(as_key, items[::2]), items[1::2], strict=True))
        elif not isinstance(self._stack[-1], Unknown):
            raise ValueError("it is damaged: it puts entries into what is no dictionary")

    def _additems(self, _: Any) -> None:
        items = self._to_mark()
        if isinstance(self._stack[-1], set):
            self._stack[-1].update(map(as_key, items))
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
        self._stack.append(PickledName(module, name))

    def _stack_global(self, _: Any) -> None:
        module, name = self._stack[-2:]
        del self._stack[-2:]
        self._stack.append(PickledName(str(module), str(name)))

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
        name = str(function) if isinstance(function, PickledName) else ""
        make = NUMPY_AND_BUILTINS.get(name) or (TORCH_REBUILDERS.get(name) if self._with_unknown else None)
        if isinstance(function, PickledName) and make is not None:
            return make(*arguments)
        if function == PickledName("numpy.dtypes", getattr(function, "name", "")):
            return PickledDtype(DTYPE_CLASSES[function.name])
        if self._with_unknown:
            return Unknown(name)
        raise ValueError(f"it asks for {name or 'a call'}, and only plain values and numpy are allowed")

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        made = self._stack[-1]
        if isinstance(made, PickledDtype):
            made.order = byte_order_of(state)
        elif isinstance(made, PickledArray):
            made.value = array_of(state)
        elif not isinstance(made, dict) and not (self._with_unknown and isinstance(made, (Unknown, Storage))):
            raise ValueError("it is damaged: it gives a state to what has none")

    def _persistent(self, _: Any) -> None:
        identity = self._stack.pop()
        if not self._with_unknown:
            raise ValueError("it refers to another file, and only plain values and numpy are allowed")
        is_tensor = isinstance(identity, tuple) and len(identity) > 2 and isinstance(identity[1], PickledName)
        self._stack.append(
            Storage(identity[1].name, str(identity[2])) if is_tensor else Unknown("persistent")
        )

    def _stop(self, _: Any) -> None:
        self._is_over = True


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
_STEPS: dict[str, Callable[[PickleMachine, Any], None]] = {
    "MARK": PickleMachine._mark, "POP": PickleMachine._pop, "POP_MARK": PickleMachine._pop_mark,
    "DUP": PickleMachine._dup,
    "LIST": PickleMachine._list, "TUPLE": PickleMachine._tuple, "DICT": PickleMachine._dict,
    "TUPLE1": lambda one, _: one._tuple_of(1), "TUPLE2": lambda one, _: one._tuple_of(2),
    "TUPLE3": lambda one, _: one._tuple_of(3), "FROZENSET": PickleMachine._frozenset,
    "APPEND": PickleMachine._append, "APPENDS": PickleMachine._appends, "SETITEM": PickleMachine._setitem,
    "SETITEMS": PickleMachine._setitems, "ADDITEMS": PickleMachine._additems,
    "GET": PickleMachine._get, "BINGET": PickleMachine._get, "LONG_BINGET": PickleMachine._get,
    "PUT": PickleMachine._save, "BINPUT": PickleMachine._save, "LONG_BINPUT": PickleMachine._save,
    "MEMOIZE": PickleMachine._memoize, "GLOBAL": PickleMachine._global,
    "STACK_GLOBAL": PickleMachine._stack_global,
    "REDUCE": PickleMachine._reduce, "NEWOBJ": PickleMachine._reduce, "NEWOBJ_EX": PickleMachine._newobj_ex,
    "OBJ": PickleMachine._obj, "INST": PickleMachine._inst, "BUILD": PickleMachine._build,
    "BINPERSID": PickleMachine._persistent, "STOP": PickleMachine._stop,
}  # fmt: skip
