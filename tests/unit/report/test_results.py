from report_runs import a_run
from training_logs import epochs

from nnunet_ext.display.tables import Table
from nnunet_ext.nnunet.folders import dataset_folders
from nnunet_ext.report.blocks import FoldedBlock, TableBlock
from nnunet_ext.report.material import Material
from nnunet_ext.report.results import by_model, result_blocks

DATASET = "Dataset001_A"


def material(*runs) -> Material:
    return Material(folders=dataset_folders(DATASET, {}), runs=runs)


def tables(blocks) -> list[Table]:
    return [block.table for block in blocks if isinstance(block, TableBlock)]


def test_a_model_is_named_once_and_its_mean_follows_its_folds():
    rows = (("a", "0", "0.8"), ("a", "1", "0.9"), ("b", "0", "0.7"), ("a", "mean", "0.85"))
    found = by_model(Table(("trainer", "fold", "Dice"), rows))
    assert found.rows == (("a", "0", "0.8"), ("", "1", "0.9"), ("", "mean", "0.85"), ("b", "0", "0.7"))
    assert by_model(Table(("fold", "Dice"), (("0", "0.8"), ("1", "0.9")))).rows == (
        ("0", "0.8"),
        ("1", "0.9"),
    )


def test_folds_that_never_ran_are_folded_away():
    idle = [a_run([], "unknown", "there is no log", fold) for fold in ("3", "4")]
    blocks = result_blocks(material(a_run(epochs(12)), *idle))
    assert all(len(table.rows) == 1 for table in tables(blocks))
    folded = [block for block in blocks if isinstance(block, FoldedBlock)]
    assert [block.text for block in folded] == ["2 folds never ran"]
    assert folded[0].items == ("2d: folds 3, 4; there is no log, and no epoch.",)
    died = result_blocks(material(a_run([], "died", "before its first epoch ended: no memory")))
    assert tables(died)[0].rows[0][1] == "died" and not any(isinstance(b, FoldedBlock) for b in died)


def test_no_title_begins_with_an_empty_prefix():
    one_model = tables(result_blocks(material(a_run(epochs(12)))))
    assert [table.title for table in one_model] == [
        "T P 2d: states, epochs and time",
        "T P 2d: Dice in training, at the best and at the last epoch",
    ]
    nothing_shared = tables(
        result_blocks(material(a_run(epochs(12)), a_run(epochs(9), names=("U", "Q", "3d"))))
    )
    assert [table.title for table in nothing_shared] == [
        "States, epochs and time",
        "Dice in training, at the best and at the last epoch",
    ]
