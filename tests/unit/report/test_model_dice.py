from pathlib import Path

import pytest
from training_logs import LogWriter, best_stated, epochs, write_fold, write_summary

from nnunet_ext.metrics.dice import Overlap
from nnunet_ext.monitoring.processes import Processes
from nnunet_ext.monitoring.run import read_runs
from nnunet_ext.report.model_dice import ModelDice, best_model, dice_of_models, short_names

GOOD, BAD = Overlap(10, 10, 9), Overlap(10, 10, 1)
EMPTY = Overlap(0, 0, 0)


def runs_of(tmp_path: Path, *folds: tuple[str, str, dict]):
    for trainer, fold, cases in folds:
        log = LogWriter().epochs(best_stated(epochs(3))).end().text
        folder = write_fold(
            tmp_path, {"training_log_2024_4_21_09_00_00.txt": log}, trainer=trainer, fold=fold
        )
        write_summary(folder, cases)
    return read_runs(tmp_path, processes=Processes(""))


def test_the_folds_of_a_model_are_joined(tmp_path):
    one = {"1": (10, 10, 9), "2": (10, 10, 1)}
    found = dice_of_models(runs_of(tmp_path, ("T", "0", {"a": one}), ("T", "1", {"b": one})))
    assert len(found) == 1 and list(found[0].cases) == ["a", "b"]
    assert found[0].mean == pytest.approx(0.5)
    assert found[0].folders["b"] == tmp_path / "Dataset004_Hippocampus/T__nnUNetPlans__2d/fold_1/validation"


def test_cases_that_were_trained_on_count_only_where_there_are_no_others(tmp_path):
    good, bad = {"1": (10, 10, 10), "2": (10, 10, 10)}, {"1": (10, 10, 1), "2": (10, 10, 1)}
    found = runs_of(tmp_path, ("T", "all", {"a": good}), ("T", "0", {"a": bad}), ("U", "all", {"a": good}))
    by_name = {one.name: one for one in dice_of_models(found)}
    assert by_name["T"].mean == pytest.approx(0.1) and not by_name["T"].notes
    assert by_name["U"].mean == pytest.approx(1.0) and "trained on" in by_name["U"].notes[0]


def test_a_case_of_two_folds_counts_with_the_first_and_is_noted(tmp_path):
    good, bad = {"1": (10, 10, 10), "2": (10, 10, 10)}, {"1": (10, 10, 1), "2": (10, 10, 1)}
    found = dice_of_models(runs_of(tmp_path, ("T", "0", {"a": good}), ("T", "1", {"a": bad})))[0]
    assert found.mean == pytest.approx(1.0) and "1 cases lie in several folds" in found.notes[0]


def test_names_hold_what_tells_models_apart(tmp_path):
    found = runs_of(tmp_path, ("T", "0", {}), ("U", "0", {}))
    assert sorted(short_names(found).values()) == ["T", "U"]
    assert list(short_names(found[:1]).values()) == ["2d"]


def test_a_label_that_a_case_does_not_hold_is_no_part_of_its_mean():
    found = ModelDice(
        name="m",
        cases={"a": {"x": GOOD, "y": EMPTY}, "b": {"x": EMPTY, "y": EMPTY}, "c": {"x": BAD, "y": BAD}},
    )
    assert found.case_mean("a") == pytest.approx(0.9)
    assert found.case_mean("b") is None and found.case_mean("nowhere") is None
    assert found.ranked() == ["c", "a"]


def test_the_best_is_judged_by_the_cases_that_all_have():
    one = ModelDice(name="one", cases={"a": {"x": BAD}, "b": {"x": GOOD}, "c": {"x": GOOD}})
    other = ModelDice(name="other", cases={"a": {"x": GOOD}})
    made = ModelDice(name="made", cases={"a": {"x": Overlap(10, 10, 10)}}, is_single=False)
    assert best_model([one, other, made]) is other
    assert best_model([one, ModelDice(name="apart", cases={"z": {"x": BAD}})]) is one


def test_the_best_has_the_highest_mean():
    some = [
        ModelDice(name="none"),
        ModelDice(name="bad", cases={"a": {"x": BAD}}),
        ModelDice(name="good", cases={"a": {"x": GOOD}}),
    ]
    assert best_model(some) is some[2]
    assert best_model(some[:1]) is None
