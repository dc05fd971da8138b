"""The same ten cases in every place that tells the mean of labels."""

import json
import shutil

import numpy as np
import pytest
from factories import write_dataset_json, write_image

from nnunet_ext.cli.evaluate import comparison_table
from nnunet_ext.cli.main import main
from nnunet_ext.display.tables import dice_table
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.metrics.compare import run_comparison
from nnunet_ext.metrics.dice import (
    MEAN_OF_LABELS,
    MEAN_OF_LABELS_DEFINED,
    case_mean,
    mean_over_labels,
    summarize,
)
from nnunet_ext.metrics.evaluate import run_evaluation
from nnunet_ext.metrics.objective import Objective
from nnunet_ext.metrics.summary import read_validation_scores
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.report.model_dice import dice_of_folder
from nnunet_ext.report.model_pairs import compare_models
from nnunet_ext.tuning.report import label_summaries

GAIN = 0.2  # of the tumour 0.4, of the liver 0; the mean over cases of the cases' means would be 0.04
CASES = [f"liver_{number}" for number in range(10)]


def stripe(n_voxels: int, n_common: int) -> tuple[slice, slice]:
    """Voxels of a reference, and of a prediction of the same size that has some of them in common."""
    return slice(0, n_voxels), slice(n_voxels - n_common, 2 * n_voxels - n_common)


@pytest.fixture
def world(tmp_path):
    """Liver 0.8 in all ten cases, a tumour in two of them: 0.2 by method a, 0.6 by method b."""
    write_dataset_json(tmp_path, {"background": 0, "liver": 1, "tumour": 2})
    for number, case in enumerate(CASES):
        for folder, tumour in (("labelsTr", None), ("a", 10), ("b", 30)):
            image = np.zeros((3, 10, 20), np.uint8)
            flat = image.reshape(3, -1)
            flat[0, stripe(100, 80)[folder != "labelsTr"]] = 1
            if number < 2:
                flat[2, stripe(50, tumour or 0)[folder != "labelsTr"]] = 2
            write_image(tmp_path / folder / f"{case}.nii.gz", image)
    for name in "ab":
        shutil.copy(tmp_path / "dataset.json", tmp_path / name)
        run_evaluation(
            tmp_path / name,
            tmp_path / "labelsTr",
            tmp_path / f"eval_{name}",
            dataset=tmp_path / "dataset.json",
            execution=IN_THIS_PROCESS,
        )
    return tmp_path


def scores(world, name):
    return read_validation_scores(world / f"eval_{name}" / "summary.json", labels(world))


def labels(world):
    return read_dataset(world / "dataset.json").labels


def counts(world, name):
    return np.array(
        [
            [(one.n_reference, one.n_predicted, one.n_common) for one in of_case.values()]
            for of_case in scores(world, name).cases.values()
        ]
    )


def test_evaluate_tells_it_and_its_intervals_hold_it(world):
    a, b = (json.loads((world / f"eval_{n}" / "evaluation.json").read_text("utf-8")) for n in "ab")
    means = [content["mean_over_labels"]["dice"] for content in (a, b)]
    assert means[1]["mean"] - means[0]["mean"] == pytest.approx(GAIN)
    assert means[0]["low"] <= means[0]["mean"] <= means[0]["high"]


def test_evaluate_compare_tells_it_with_its_definition(world, capsys):
    comparison = run_comparison(world / "eval_a", world / "eval_b")
    assert comparison.overall.mean == pytest.approx(GAIN)
    table = comparison_table(comparison, "a", "b")
    assert table.rows[-1][0] == MEAN_OF_LABELS and "+0.2000" in "".join(table.rows[-1])
    assert MEAN_OF_LABELS_DEFINED in table.title
    assert main(["evaluate", "--compare", str(world / "eval_a"), str(world / "eval_b")]) == 0
    assert "+0.2000" in capsys.readouterr().out


def test_the_report_tells_it(world):
    dataset = read_dataset(world / "dataset.json")
    references = {case: world / "labelsTr" / f"{case}.nii.gz" for case in CASES}
    a, b = (dice_of_folder(name, world / name, dataset, references, 0)[0] for name in "ab")
    (pair,) = [one for one in compare_models([b], a, ["liver", "tumour"]) if one.label == MEAN_OF_LABELS]
    assert pair.difference == pytest.approx(GAIN) == b.mean - a.mean
    assert (pair.paired.n_better, pair.paired.n_worse, pair.n) == (2, 0, 10)


def test_tune_and_the_demo_tell_it(world):
    names = ["liver", "tumour"]
    rows = {name: label_summaries(counts(world, name), names) for name in "ab"}
    table = dice_table(rows, "Dice of the test cases", 4)
    a, b = (float(row[-1]) for row in table.rows)
    assert table.header[-1] == MEAN_OF_LABELS and b - a == pytest.approx(GAIN)
    assert MEAN_OF_LABELS_DEFINED in table.title
    assert Objective().score(counts(world, "b")) - Objective().score(counts(world, "a")) == pytest.approx(
        GAIN
    )
    demo = [mean_over_labels(summarize(scores(world, name).cases.values())) for name in "ab"]
    assert demo[1] - demo[0] == pytest.approx(GAIN)


def test_results_tells_it(world, capsys, monkeypatch):
    results = world / "results"
    for name, folder in (
        ("a", "nnUNetTrainer__nnUNetPlans__2d"),
        ("b", "nnUNetTrainer__nnUNetPlans__3d_fullres"),
    ):
        model = results / "Dataset001_Liver" / folder
        (model / "fold_0" / "validation").mkdir(parents=True)
        shutil.copy(world / "dataset.json", model)
        shutil.copy(world / f"eval_{name}" / "summary.json", model / "fold_0" / "validation")
        (model / "fold_0" / "debug.json").write_text("{}", "utf-8")
    monkeypatch.setenv("nnUNet_results", str(results))
    assert main(["results"]) == 0
    said = capsys.readouterr().out
    assert (
        "0.500" in said
        and "0.700" in said
        and " ".join(MEAN_OF_LABELS_DEFINED.split()) in " ".join(said.split())
    )


def test_the_mean_of_a_case_is_another_number_and_named_so(world):
    of_cases = [[case_mean(case) for case in scores(world, name).cases.values()] for name in "ab"]
    gains = [b - a for a, b in zip(*of_cases, strict=True)]
    assert sum(gains) / len(gains) == pytest.approx(0.04)
