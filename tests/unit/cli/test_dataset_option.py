"""`-d ID` means the same data set to every verb, and none where two have that number."""

import json

import pytest

from nnunet_ext.cli.main import main

PLAN = "members:\n  a: {results: {d: 4, c: 2d}}\n"
VERBS = (
    "check -d 4 -np 0",
    "splits -d 4 -k 2 -np 0",
    "plans -d 4 -c 2d --batch_size 4",
    "plan -d 4 -overwrite_plans_name mine",
    "train -d 4 -c 2d -f 0 -device cpu",
    "benchmark -d 4 -c 2d -device cpu",
    "results -d 4",
    "monitor -d 4 --once",
    "report -d 4 -o {out}",
    "tune -d 4 -m a={tmp} b={tmp} -o {out}/plan.yaml -np 0",
    "roi build -d 4 -o 104 --whole -np 0",
    "roi build -d 4 -c 2d -o 104 -np 0",
    "predict --plan {tmp}/plan.yaml -i {tmp} -o {out} -device cpu",
)


@pytest.fixture
def two_of_one_number(tmp_path, monkeypatch):
    """Two data sets of number 4, one in the raw folder and the other among the results alone."""
    for variable, name in (
        ("nnUNet_raw", "Dataset004_Liver"),
        ("nnUNet_preprocessed", "Dataset004_Liver"),
        ("nnUNet_results", "Dataset004_Spleen"),
    ):
        (tmp_path / variable / name).mkdir(parents=True)
        monkeypatch.setenv(variable, str(tmp_path / variable))
    content = {"labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz", "numTraining": 0}
    raw = tmp_path / "nnUNet_raw" / "Dataset004_Liver"
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("line", VERBS)
def test_a_number_of_two_data_sets_is_refused_by_each_verb_which_names_both(two_of_one_number, capsys, line):
    out = two_of_one_number / "out"
    words = [word.format(tmp=two_of_one_number, out=out) for word in line.split()]
    assert main(words) == 2
    assert "-d 4: Dataset004_Liver and Dataset004_Spleen share that number" in capsys.readouterr().err
