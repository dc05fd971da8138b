"""Laws that hold for every kind of repair, and what carrying one out needs of it."""

import inspect
import pickle
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from nnunet_ext.check.repairs import moving, preprocessing, rewriting
from nnunet_ext.check.repairs.base import DirectRepair, KnownCases, Repair, WorkerRepair
from nnunet_ext.check.repairs.moving import ForgetCase, SetAside, SetCaseAside
from nnunet_ext.images.geometry import Geometry

MODULES = (moving, rewriting, preprocessing)
KINDS = [
    kind
    for module in MODULES
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Repair) and not inspect.isabstract(kind)
]
VALUES = {
    "path": Path("a.nii.gz"),
    "source": Path("b.nii.gz"),
    "case_id": "a",
    "part": "Tr",
    "geometry": Geometry.of_array((3, 4, 5)),
    "plans": Path("plans.json"),
    "configuration": "2d",
    "folder": Path("2d"),
    "files": (),
}


def example(kind):
    return kind(**{one.name: VALUES[one.name] for one in fields(kind) if one.name in VALUES})


def test_no_two_kinds_of_repairs_have_one_rank():
    ranks = [kind.rank for kind in KINDS]
    assert len(KINDS) >= 9
    assert len(set(ranks)) == len(ranks)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_repairs_are_one_also_after_they_went_to_a_worker(kind):
    repair = example(kind)
    assert is_dataclass(kind) and kind.__dataclass_params__.frozen
    assert {repair, example(kind), pickle.loads(pickle.dumps(repair))} == {repair}


@pytest.mark.parametrize("kind", KINDS)
def test_a_repair_is_carried_out_here_or_in_a_worker_and_says_what_it_does(kind):
    assert issubclass(kind, DirectRepair) != issubclass(kind, WorkerRepair)
    words = example(kind).description
    assert words[0].islower() and not words.endswith(".")


def test_cases_are_counted_by_what_is_set_aside():
    known = KnownCases({Path("a_0000.png"): ("Ts", "a")}, frozenset({"b"}), {Path("odd.npz"): "odd.npz"})
    counted = {
        SetAside(Path("a_0000.png"), is_raw=True): [("raw Ts", "a")],
        SetAside(Path("c.png"), is_raw=True): [("raw Tr", "c.png")],
        SetAside(Path("odd.npz")): [("preprocessed", "odd.npz")],
        SetAside(Path("plans.json")): [],
        SetCaseAside("b", "Tr"): [("raw Tr", "b"), ("preprocessed", "b")],
        SetCaseAside("b", "Ts"): [("raw Ts", "b")],
        ForgetCase("b"): [("preprocessed", "b")],
    }
    for repair, cases in counted.items():
        assert list(repair.cases_aside(known)) == cases
