import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from nnunet_ext.metrics.dice import Overlap
from nnunet_ext.metrics.summary import SummaryScores
from nnunet_ext.monitoring.result_tables import evolution_table, result_tables
from nnunet_ext.monitoring.results import (
    model_record,
    run_record,
    runs_by_model,
    select_runs,
    sort_runs,
    spread_over_folds,
    write_results_csv,
)
from nnunet_ext.monitoring.run import Run
from nnunet_ext.monitoring.states import Standing
from nnunet_ext.nnunet.history import Epoch, History
from nnunet_ext.nnunet.model_folder import FoldFolder
from nnunet_ext.nnunet.training_log import Log

FINISHED = Standing("finished")


def folder(fold, configuration="2d", dataset="Dataset004_Hippocampus"):
    name = f"nnUNetTrainer__nnUNetPlans__{configuration}"
    return FoldFolder(
        path=Path(dataset, name, f"fold_{fold}"),
        dataset=dataset,
        trainer="nnUNetTrainer",
        plans="nnUNetPlans",
        configuration=configuration,
        fold=fold,
    )


def run(fold, dice=((0.5, 0.5), (0.7, 0.9), (0.6, 0.1)), validation=None, standing=FINISHED, **more):
    made = tuple(
        Epoch(number=i, train_loss=0.5, val_loss=0.4, dice=one, learning_rate=0.01, seconds=10.0 + i)
        for i, one in enumerate(dice)
    )
    found = None if validation is None else SummaryScores({"case": dict(validation)}, nnunet_mean=0.5)
    history = History(("Anterior", "Posterior"), made)
    return Run(
        folder=folder(fold, **more),
        history=history,
        standing=standing,
        log=Log(),
        planned=40,
        validation=found,
        modified=100.0 + int(fold),
    )


HIT, MISSED, ALARM = Overlap(10, 10, 8), Overlap(10, 0, 0), Overlap(0, 5, 0)
RUNS = [
    run("0", validation={"Anterior": HIT, "Posterior": ALARM}),
    run("1", ((0.8, 0.8),) * 5 + ((0.8, 0.1),) * 5, {"Anterior": MISSED, "Posterior": HIT}),
    run("2", (), standing=Standing("died", "after epoch 3: Killed")),
    run("3", configuration="3d_fullres"),
]


def cells(table, row):
    return dict(zip(table.header, table.rows[row], strict=True))


def test_the_first_table_tells_how_runs_stand():
    table = result_tables(RUNS)[0]
    assert cells(table, 0) == {
        "configuration": "2d", "fold": "0", "state": "finished", "epochs": "3 of 40",
        "best average": "0.530", "at epoch": "1", "s/epoch": "11.0", "hours": "0.0",
    }  # fmt: skip
    assert cells(table, 2)["best average"] == "-" and cells(table, 2)["epochs"] == "0 of 40"
    assert cells(table, 4)["fold"] == "mean" and len(table.rows) == 5
    assert cells(table, 4)["best average"] == "0.665 +- 0.191"


def test_the_second_marks_a_label_that_was_lost():
    table = result_tables(RUNS)[1]
    assert cells(table, 0)["Anterior"] == "0.700 0.600"
    assert cells(table, 1)["Posterior"] == "0.800 0.100 LOST"
    assert cells(table, 2)["Anterior"] == "- -"


def test_the_third_counts_the_cases_that_hold_a_label():
    table = result_tables(RUNS)[2]
    assert cells(table, 0)["Anterior"] == "0.800 (1)"
    assert cells(table, 0)["Posterior"] == "- (0, 1 false)"
    assert cells(table, 0)["mean of labels"] == "0.800"
    assert cells(table, 3)["Anterior"] == "-"
    assert cells(table, 4)["Anterior"] == "0.400 +- 0.566" and cells(table, 4)["Posterior"] == "0.800"


def test_each_data_set_has_its_own_tables_and_none_of_a_validation_that_there_is_not():
    tables = result_tables([RUNS[3], run("0", dataset="Dataset012_Liver")])
    assert [table.title.split()[0] for table in tables] == [
        *["Dataset004_Hippocampus"] * 2,
        *["Dataset012_Liver"] * 2,
    ]


def test_what_all_runs_share_stands_in_the_title_and_in_no_column():
    assert result_tables(RUNS)[0].title == "Dataset004_Hippocampus nnUNetTrainer nnUNetPlans"
    table = result_tables(RUNS[:2])[0]
    assert table.title.endswith(" 2d") and table.header[:2] == ("fold", "state")
    other = replace(RUNS[0], folder=replace(RUNS[0].folder, trainer="Mine"))
    assert result_tables([RUNS[3], other])[0].header[:3] == ("trainer", "configuration", "fold")


def test_every_row_has_a_cell_a_column():
    for table in result_tables(RUNS):
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_the_evolution_has_every_nth_epoch_and_the_best_and_the_last():
    table = evolution_table(RUNS[1], 4)
    assert [row[0] for row in table.rows] == ["0", "4", "8", "9"]
    table = evolution_table(RUNS[0], 100)
    assert [(row[0], row[-1]) for row in table.rows] == [("0", ""), ("1", "best"), ("2", "")]
    assert cells(table, 1)["Posterior"] == "0.900"
    assert evolution_table(RUNS[2], 5).rows == ()


@pytest.mark.parametrize(
    ("patterns", "folds"),
    [
        ({"fold": ["0", "1"]}, ["0", "1"]),
        ({"configuration": ["3d_*"]}, ["3"]),
        ({"state": ["died"]}, ["2"]),
        ({"trainer": ["nnUNetTrainer"], "fold": ["[23]"]}, ["2", "3"]),
        ({"trainer": ["nnunet"]}, []),
    ],
)
def test_runs_are_selected_by_patterns_of_their_names_and_states(patterns, folds):
    assert [one.folder.fold for one in select_runs(RUNS, patterns)] == folds


@pytest.mark.parametrize(
    ("key", "folds"),
    [
        ("name", "0123"), ("dice", "1032"), ("validation", "0123"), ("epochs", "1032"),
        ("seconds", "1032"), ("changed", "3210"), ("state", "2013"),
    ],
)  # fmt: skip
def test_runs_are_sorted_with_the_largest_first_and_the_unknown_last(key, folds):
    assert "".join(one.folder.fold for one in sort_runs(reversed(RUNS), key)) == folds


def test_over_no_folds_there_is_no_mean_and_over_one_no_spread():
    assert spread_over_folds([None]) is None
    assert spread_over_folds([0.5, None]).deviation is None
    assert spread_over_folds([0.4, 0.6]).deviation == pytest.approx(0.1414, abs=1e-4)


def test_records_are_strict_json():
    records = [run_record(one) for one in RUNS]
    groups = [model_record(*one) for one in runs_by_model(RUNS).items()]
    assert json.loads(json.dumps([records, groups], allow_nan=False)) == [records, groups]
    assert records[1]["labels"]["Posterior"] == {
        "best": 0.8, "last": 0.1, "lost": True, "validation": 0.8, "cases": 1, "false_alarms": 0,
    }  # fmt: skip
    assert groups[0]["labels"]["Anterior"]["folds"] == 2 and groups[0]["folds"] == ["0", "1", "2"]
    assert records[2]["reason"] == "after epoch 3: Killed" and records[2]["best_epoch"] is None


def test_a_csv_has_a_row_a_run_and_columns_of_all_labels(tmp_path):
    other = replace(
        RUNS[0], history=History(("liver", "tumour, core"), RUNS[0].history.epochs), validation=None
    )
    write_results_csv([RUNS[1], other], tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["Posterior last"] == "0.1" and rows[0]["tumour, core last"] == ""
    assert rows[1]["Posterior last"] == "" and rows[1]["tumour, core best"] == "0.9"
