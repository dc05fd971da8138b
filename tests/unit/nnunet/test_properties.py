import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from factories import geometry, sitk_properties

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.nnunet.properties import read_properties


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays_are_read_from_every_protocol(tmp_path, protocol):
    content = sitk_properties(geometry()) | {
        "array": np.arange(12, dtype=np.float32).reshape(3, 4),
        "scalar": np.float64(0.5),
        "ordered": OrderedDict(a=(1, {2, 3}, b"x", None, True)),
    }
    path = tmp_path / "case.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    back = read_properties(path)
    np.testing.assert_array_equal(back["array"], content["array"])
    assert back["scalar"] == 0.5
    assert back["ordered"] == content["ordered"]


@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"sitk_stuff": evil}])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path, monkeypatch, wrap):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "case.pkl"
    path.write_bytes(pickle.dumps(wrap(Evil())))
    with pytest.raises(ProbabilitiesError, match="mkdir"):
        read_properties(path)
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x05", b"no pickle at all", pickle.dumps([1, 2])])
def test_damaged_and_other_pickles_are_named(tmp_path, content):
    path = tmp_path / "case.pkl"
    path.write_bytes(content)
    with pytest.raises(ProbabilitiesError, match=r"case\.pkl"):
        read_properties(path)
