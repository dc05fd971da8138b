import numpy as np
import pytest
from factories import labels, region_labels

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.metrics.objective import Objective
from nnunet_ext.postprocess.steps import apply_steps
from nnunet_ext.tuning.postprocess import ReferenceSizes, StepTuner, trial_groups, trial_labels
from nnunet_ext.tuning.postprocess_tables import component_sizes, tabulate

KNOWN = labels({"background": 0, "organ": 1, "tumour": 2})
FOLDS = ("a", "b", "c") * 2


def case(number, specks=0, tumour=False, alarm=False, hole=False):
    """An organ, and what may be wrong with its segmentation."""
    reference = np.zeros((1, 20, 24), np.uint8)
    reference[0, 2:12, 2:14] = 1
    if tumour:
        reference[0, 4:8, 15:20] = 2
    prediction = reference.copy()
    prediction[0, 2, 2 : 2 + number] = 0  # no two cases are alike
    prediction[0, 15, 1 : 1 + 2 * specks : 2] = 1
    if alarm:
        prediction[0, 17, 15:18] = 2
    if hole:
        prediction[0, 6, 6] = 0
    return prediction, reference


def tuner(cases, objective=None):
    groups = trial_groups(KNOWN)
    asked = []

    def tables_after(wanted):
        asked.extend(wanted)
        return [tables(steps) for _, steps in wanted]

    def tables(steps):
        found = []
        for prediction, reference in cases:
            after = apply_steps(prediction, steps, Geometry.of_array(prediction.shape)).segmentation
            found.append(tabulate(after, reference, groups, 1.0, 3))
        return found

    sizes = []
    for _, reference in cases:
        found = {group: sizes_ for group, sizes_ in component_sizes(reference, groups).items() if len(sizes_)}
        sizes.append(
            ReferenceSizes(
                {group: float(one.min()) for group, one in found.items()},
                {group: float(one.sum()) for group, one in found.items()},
            )
        )
    return StepTuner(tables_after, sizes, KNOWN, objective or Objective()), asked


def kinds(entries):
    return [next(iter(entry)) for entry in entries]


def test_specks_are_removed_and_the_steps_hold_on_cases_not_seen():
    learnt = tuner([case(n, specks=4) for n in range(6)])[0].learn(FOLDS)[0]
    assert kinds(learnt.entries) == ["keep_largest"]
    assert learnt.accepted
    np.testing.assert_array_equal(learnt.held_out[:, 0, 1], learnt.held_out[:, 0, 2])


def test_holes_are_filled():
    learnt = tuner([case(n, hole=True) for n in range(6)])[0].learn(FOLDS)[0]
    assert "fill_holes" in kinds(learnt.entries)


def test_a_rare_label_gets_a_floor_below_the_smallest_in_the_references():
    cases = [case(n, tumour=n < 2, alarm=n >= 2) for n in range(6)]
    learnt = tuner(cases)[0].learn(FOLDS)[0]
    (entry,) = learnt.entries
    assert learnt.accepted
    assert next(iter(entry)) in ("remove_small", "volume_floor")
    (options,) = entry.values()
    assert options["labels"] == ["tumour"]
    assert options["min_volume_mm3"] <= 20
    assert (learnt.held_out[2:, 1, 1] == 0).all()


def test_nothing_is_learnt_where_nothing_is_wrong():
    tuned, asked = tuner([case(n) for n in range(6)])
    learnt = tuned.learn(FOLDS)[0]
    assert learnt.entries == ()
    assert not learnt.accepted
    assert asked == [(0, ())]  # each case was tabulated once


def test_no_step_takes_right_pieces_of_another_label_along():
    cases = []
    for n in range(6):
        prediction, reference = case(n, specks=1)
        reference[0, 15, 1] = 2 if n % 2 else 0  # by removing this, a step on both would lose nothing
        prediction[0, 12:14, 2:6] = 2
        reference[0, 12:14, 2:6] = 2
        prediction[0, 18, 20:22] = 2
        reference[0, 18, 20:22] = 2
        cases.append((prediction, reference))
    learnt = tuner(cases)[0].learn(FOLDS)[0]
    right = [np.sum((prediction == 2) & (reference == 2)) for prediction, reference in cases]
    assert learnt.held_out[:, 1, 2].tolist() == right


def test_what_helps_one_fold_only_is_not_accepted():
    cases = [case(n, specks=8 if n % 3 == 0 else 0) for n in range(6)]
    for n in (1, 2, 4, 5):  # a second piece that is right, larger than no speck elsewhere
        for array in cases[n]:
            array[0, 15, 1] = 1
    learnt = tuner(cases)[0].learn(FOLDS)[0]
    assert not learnt.accepted


@pytest.mark.parametrize("known", [labels(), region_labels()])
def test_steps_are_tried_for_each_label_and_for_all_together(known):
    names = trial_labels(known)
    assert len(names) == 4
    assert len(names[-1]) == 3
    assert len(trial_groups(known)) == (4 if not known.is_regions else 3)
