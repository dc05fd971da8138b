from report_runs import a_run
from training_logs import epochs

from nnunet_ext.metrics.dice import Overlap
from nnunet_ext.nnunet.folders import dataset_folders
from nnunet_ext.report.blocks import HeadingBlock, ListBlock, TableBlock
from nnunet_ext.report.material import Material
from nnunet_ext.report.model_dice import ModelDice
from nnunet_ext.report.summary import summary_blocks


def dice(name: str, n_common: int) -> ModelDice:
    overlap = Overlap(n_reference=10, n_predicted=10, n_common=n_common)
    return ModelDice(name=name, cases={"case_0": {"x": overlap, "y": overlap}})


def material(*runs, model_dice=()) -> Material:
    return Material(folders=dataset_folders("Dataset001_A", {}), runs=runs, model_dice=model_dice)


def test_the_first_screen_names_the_best_model_and_the_dice_of_each_label():
    blocks = summary_blocks(material(a_run(epochs(3)), model_dice=(dice("worse", 5), dice("better", 9))))
    assert isinstance(blocks[0], HeadingBlock) and "validation is better: mean Dice 0.900" in blocks[0].text
    assert isinstance(blocks[1], TableBlock)
    assert blocks[1].table.header == ("model", "x", "y", "mean of labels", "cases", "")
    assert blocks[1].table.rows == (
        ("better", "0.900", "0.900", "0.900", "1", "best model"),
        ("worse", "0.500", "0.500", "0.500", "1", ""),
    )


def test_what_is_unfinished_is_told_in_words():
    runs = [
        a_run(epochs(3), fold="0"),
        a_run(epochs(3), "died", "after epoch 2: no memory", "1"),
        a_run(epochs(3), "interrupted", "by signal 15 after epoch 2; --c continues it", "2"),
        a_run(epochs(3), "running", fold="3"),
        a_run([], "unknown", "there is no log", "4"),
    ]
    said = next(block for block in summary_blocks(material(*runs)) if isinstance(block, ListBlock)).items
    assert said == (
        "1 model, 5 folds: 1 finished, 1 died, 1 interrupted, 1 running, 1 never ran.",
        "Unfinished: 2d, fold 1: died after epoch 2: no memory.",
        "Unfinished: 2d, fold 2: interrupted by signal 15 after epoch 2; --c continues it.",
        "Unfinished: 2d, fold 3: running, 3 epochs are done.",
    )
