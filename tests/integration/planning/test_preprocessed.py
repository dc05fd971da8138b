"""Which data is found to be there, and to be that of the plans."""

from __future__ import annotations

import numpy as np
import pytest

CLAIMED = ((1, 0.8, 0.8), (40, 60, 50))
IDENTIFIER = "nnUNetPlans_3d_fullres"


@pytest.fixture
def find(folders):
    """Plans a data set; gives a function that says how its data stands, and where the data belongs."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_ext.planning.planners import UNetPlusPlusPlanner
    from nnunet_ext.planning.shared_data import find_preprocessed

    name = folders.dataset(*CLAIMED)
    planner = UNetPlusPlusPlanner(name)
    manager = PlansManager(planner.plan_experiment())

    def state(configuration="3d_fullres"):
        return find_preprocessed(manager, configuration, planner.folder, planner.dataset.keys())

    return state, folders.preprocessed(name)


def write_case(folder, case, shape=CLAIMED[1], before=CLAIMED[1], spacing=CLAIMED[0], blosc2=True):
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy

    folder.mkdir(exist_ok=True)
    properties = {"spacing": spacing, "shape_after_cropping_and_before_resampling": before}
    data, seg = np.zeros((1, *shape), np.float32), np.zeros((1, *shape), np.int8)
    options = dict.fromkeys(("chunks", "blocks", "chunks_seg", "blocks_seg"), (1, 8, 8, 8)) if blosc2 else {}
    kind = nnUNetDatasetBlosc2 if blosc2 else nnUNetDatasetNumpy
    kind.save_case(data, seg, properties, str(folder / case), **options)


def test_cases_are_counted_until_all_are_there(find):
    state, folder = find
    assert str(state()) == "no"
    write_case(folder / IDENTIFIER, "a")
    write_case(folder / IDENTIFIER, "b", blosc2=False)
    write_case(folder / IDENTIFIER, "of_another_data_set")
    assert str(state()) == "2 of 3"
    assert not state().is_whole
    write_case(folder / IDENTIFIER, "c")
    assert str(state()) == "yes"
    assert state().is_whole


def test_data_of_another_spacing_is_not_that_of_the_plans(find):
    state, folder = find
    for case in "abc":
        write_case(folder / IDENTIFIER, case, shape=(20, 60, 50))
    assert str(state()) == "not as planned"
    assert not state().is_whole


def test_in_2d_the_distance_of_slices_stays_as_it_was(find):
    state, folder = find
    for case in "abc":
        write_case(folder / "nnUNetPlans_2d", case, (18, 30, 100), (18, 60, 50), spacing=(3, 0.4, 1.6))
    assert str(state("2d")) == "yes"


@pytest.mark.parametrize("ending", ["b2nd", "pkl"])
def test_a_damaged_case_is_not_ready(find, ending):
    state, folder = find
    for case in "abc":
        write_case(folder / IDENTIFIER, case)
    (folder / IDENTIFIER / f"a.{ending}").write_bytes(b"broken")
    assert str(state()) == "not as planned"
