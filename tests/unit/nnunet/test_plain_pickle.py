"""Pickles give plain values and numpy arrays; nothing that they name is run, and none exhausts memory."""

import collections
import pickle
import pickletools
import struct

import numpy as np
import pytest

from nnunet_ext.nnunet.pickle_values import Storage, Unknown
from nnunet_ext.nnunet.plain_pickle import load_plain, read_pickle_file

PROPERTIES = {
    "sitk_stuff": {"spacing": (0.5, 0.75, 2.0), "origin": (-1e3, 2.5, 0.0), "direction": (1.0,) * 9},
    "spacing": [2.0, 0.75, 0.5],
    "shape_before_cropping": (4, 5, 6),
    "bbox_used_for_cropping": [[0, 4], [0, 5], [np.int64(1), 6]],
    "class_locations": {1: np.arange(12).reshape(3, 4), (1, 2): np.zeros((0, 4), np.int64)},
    "affine": np.asfortranarray(np.arange(16.0).reshape(4, 4)),
    "scalar": np.float32(0.25),
    "big": np.arange(5, dtype=">i2"),
    "flags": {True, None},
    "names": frozenset({"ü"}),
    "raw": b"\0\xff",
    "ordered": collections.OrderedDict(a=1),
    "complex": 1 + 2j,
    "slice": slice(0, 4),
}


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return one == other and type(one) is type(other)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_nnunet_pickles_is_read_as_it_was(protocol):
    back = load_plain(pickle.dumps(PROPERTIES, protocol))
    ordered = back.pop("ordered")
    expected = {key: value for key, value in PROPERTIES.items() if key != "ordered"}
    assert same(expected, back) and dict(ordered) == {"a": 1}


@pytest.mark.parametrize("core", ["core", "_core"])
def test_arrays_of_both_numpy_versions_are_read(core):
    for protocol in (2, 4, 5):
        data = pickle.dumps(np.arange(3.0), protocol)
        if protocol < 4:
            data = data.replace(b"numpy._core", b"numpy.core").replace(
                b"numpy.core", b"numpy." + core.encode()
            )
        assert np.array_equal(load_plain(data), np.arange(3.0))


class Calls:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    "call",
    [Calls(print, "run"), Calls(range, 10**12), Calls(eval, "1"), Calls(bytearray, 10**9), Calls(set, "ab")],
)
def test_no_function_is_called(call, capsys):
    with pytest.raises(ValueError, match=r"only plain values|makes|asks for"):
        load_plain(pickle.dumps({"spacing": call}))
    assert capsys.readouterr().out == ""


def test_unknown_objects_stand_for_nothing_where_they_are_allowed(capsys):
    content = load_plain(pickle.dumps({"a": Calls(print, "run"), "b": print}), with_unknown=True)
    assert content["a"] == Unknown("builtins.print") and isinstance(content["b"], Unknown)
    assert capsys.readouterr().out == ""


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def call(function, *arguments):
    return function + b"(" + b"".join(arguments) + b"tR"


def number(value):
    return b"J" + struct.pack("<i", value)


FROM_BUFFER = named("numpy.core.numeric", "_frombuffer")
RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct")
DTYPE = named("numpy", "dtype")


def doubled(n_levels, kind):
    """A value within itself twice, at each of many levels: few bytes, and no end to walk through it."""
    steps = b"".join(
        (b"](h%ch%ce" if kind == "list" else b"(h%ch%ct") % (i, i) + b"q%c0" % (i + 1)
        for i in range(n_levels)
    )
    return b"]q\x000" + steps + b"h%c" % n_levels


def types(code, state):
    return call(DTYPE, text(code), b"\x89", b"\x88") + b"(" + state + b"tb"


PLAIN_STATE = number(3) + text("<") + b"NNN" + number(-1) * 2 + number(0)
FIELDS_STATE = number(3) + text("|") + b"N(" + text("a") + b"t}" + number(8) + number(1) + number(0)
HOSTILE = {
    "objects": call(FROM_BUFFER, b"C\x08" + bytes(8), types("O8", PLAIN_STATE), b"(" + number(1) + b"t"),
    "fields": call(FROM_BUFFER, b"C\x08" + bytes(8), types("V8", FIELDS_STATE), b"(" + number(1) + b"t"),
    "fields of a number": call(FROM_BUFFER, b"C\x08" + bytes(8), types("i8", FIELDS_STATE), b"(K\x01t"),
    "longer than its bytes": call(FROM_BUFFER, b"C\x08" + bytes(8), types("i8", PLAIN_STATE), b"(M\xff\xfft"),
    "negative": call(
        FROM_BUFFER, b"C\x08" + bytes(8), types("i8", PLAIN_STATE), b"(" + number(-1) * 2 + b"t"
    ),
    "no numbers": call(RECONSTRUCT, named("numpy", "ndarray"), b"(K\x00t", b"C\x01b"),
    "bytes by number": call(named("builtins", "bytearray"), number(2**31 - 1)),
    "deep": b"]" * 100_000 + b"a" * 99_999,
    "doubled lists": doubled(40, "list"),
    "doubled tuples as a key": b"}" + doubled(40, "tuple") + b"K\x01s",
    "itself": b"]q\x00h\x00a",
    "memory by its memo": b"]r\xff\xff\xff\xffh\x07",
    "a huge number": b"\x8b" + struct.pack("<i", 1000) + b"\x7f" * 1000,
    "an extension": b"\x82\x01",
    "another file": b"K\x01Q",
    "a function": named("os", "system"),
    "append to a number": b"K\x01K\x01a",
    "nothing": b"",
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles_are_refused_at_once(value):
    with pytest.raises(ValueError, match=r"it|opcode"):
        load_plain(b"\x80\x04" + value + b".")


def test_every_cut_of_a_pickle_is_told():
    data = pickletools.optimize(pickle.dumps(PROPERTIES))
    for end in range(len(data)):
        with pytest.raises(ValueError):
            load_plain(data[:end])


def test_tensors_of_torch_are_told_by_their_storage(tmp_path):
    torch = pytest.importorskip("torch")
    import zipfile

    content = {"weights": collections.OrderedDict(w=torch.ones(2)), "p": torch.nn.Parameter(torch.ones(1))}
    torch.save(content, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    read = load_plain(data, with_unknown=True)
    assert read["weights"] == {"w": Storage("FloatStorage", "0")}
    assert read["p"] == Storage("FloatStorage", "1")
    with pytest.raises(ValueError, match="another file"):
        load_plain(data)


def test_a_folder_is_no_pickle(tmp_path):
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        read_pickle_file(tmp_path)
