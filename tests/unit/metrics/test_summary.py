import factories
import pytest
from training_logs import write_summary

from nnunet_ext.metrics.dice import DiceSummary, Overlap
from nnunet_ext.metrics.summary import read_validation_scores
from nnunet_ext.nnunet.summary import label_name

LABELS = factories.labels({"background": 0, "Anterior": 1, "Posterior": 2})


def test_a_summary_with_bare_nan_is_read_by_label_name(tmp_path):
    cases = {"a.1": {"1": (10, 10, 8), "2": (0, 0, 0)}, "b": {"1": (10, 30, 10), "2": (0, 5, 0)}}
    path = write_summary(tmp_path, cases)
    assert "NaN" in path.read_text()
    validation = read_validation_scores(path, LABELS)
    assert validation.cases["a.1"] == {"Anterior": Overlap(10, 10, 8), "Posterior": Overlap(0, 0, 0)}
    assert validation.labels == {
        "Anterior": DiceSummary(pytest.approx(0.65), 2, 2, 0),
        "Posterior": DiceSummary(None, 2, 0, 1),
    }
    assert validation.nnunet_mean == 0.5 and not validation.notes


def test_regions_are_named_by_their_parts_in_any_order(tmp_path):
    regions = factories.region_labels()
    path = write_summary(tmp_path, {"a": {"(1, 2, 3)": (4, 4, 4), "(3, 2)": (2, 2, 1), "3": (1, 1, 0)}})
    assert list(read_validation_scores(path, regions).labels) == ["whole", "core", "enhancing"]
    assert label_name("(3,)", regions) == "enhancing"


def test_a_label_that_the_data_set_does_not_know_keeps_its_key(tmp_path):
    path = write_summary(tmp_path, {"a": {"7": (4, 4, 4)}})
    assert list(read_validation_scores(path, LABELS).labels) == ["7"]
    assert list(read_validation_scores(path).labels) == ["7"]


def test_a_case_is_named_by_its_file_even_by_that_of_windows(tmp_path):
    path = write_summary(tmp_path, {"x": {"1": (4, 4, 4)}})
    path.write_text(path.read_text().replace("/results/validation/x.nii.gz", "C:\\\\val\\\\liver_7.nii.gz"))
    assert list(read_validation_scores(path).cases) == ["liver_7"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        "{}",
        '{"metric_per_case": [{"metrics": {"1": {}}, "prediction_file": "a"}]}',
    ],
)
def test_what_is_no_summary_is_said(tmp_path, text):
    path = tmp_path / "summary.json"
    path.write_text(text)
    validation = read_validation_scores(path, LABELS)
    assert validation.cases == {} and "summary.json cannot be read" in validation.notes[0]


def test_a_summary_of_version_1_is_said(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text('{"author": "Fabian", "results": {"all": [], "mean": {"1": {"Dice": 0.5}}}}')
    assert "metric_per_case" in read_validation_scores(path, LABELS).notes[0]
