"""What the report shows of a tuning, from the files that the tuning itself writes."""

import json
import shutil

import numpy as np
import planted
import pytest
from factories import geometry, write_image

from nnunet_ext.cli.main import main
from nnunet_ext.errors import DamagedFile
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.metrics.overlap import foreground_names
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.nnunet.folders import dataset_folders
from nnunet_ext.report.blocks import ListBlock, MissingBlock, PictureBlock, TableBlock
from nnunet_ext.report.ensemble import ensemble_blocks
from nnunet_ext.report.material import Material, ShownPlan, read_shown_plan
from nnunet_ext.tuning.report import label_summaries, read_tuning, write_tuning
from nnunet_ext.tuning.run import run_tuning
from nnunet_ext.tuning.verdict import verdict

GOOD, POOR = 1.0, 3.0
NOISES = {"2d": {1: GOOD, 2: GOOD, 3: POOR}, "3d_fullres": {1: POOR, 2: POOR, 3: GOOD}}
WITHOUT = "case_03"  # holds no right ventricle


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The folder of a plan with its report, and what the tuning found."""
    root = tmp_path_factory.mktemp("tuned")
    models = planted.write_models(root, NOISES, n_cases=5)
    reference = root / "ref" / f"{WITHOUT}.nii.gz"
    labels = read_segmentation(reference)[0]
    write_image(reference, np.where(labels == 3, 0, labels).astype(np.uint8), geometry(planted.SHAPE))
    folders = {name: [folder] for name, folder in models.items()}
    found = run_tuning(folders, root / "ref", dataset=root / "dataset.json", execution=IN_THIS_PROCESS)
    write_tuning(found, root / "plan.yaml")
    return root, found


@pytest.fixture
def copied(tuned, tmp_path):
    """A copy of the plan, its members and its report, to change."""
    return shutil.copytree(tuned[0], tmp_path / "copy", ignore=shutil.ignore_patterns("*.npz"))


def dataset(tuned):
    return read_dataset(tuned[0] / "dataset.json")


def material(plan: ShownPlan) -> Material:
    return Material(folders=dataset_folders("D", {}), runs=(), plan=plan)


def test_what_is_read_is_what_the_tuning_found(tuned):
    root, found = tuned
    report = read_tuning(root / "plan_tuning_report.json")
    names = foreground_names(found.dataset.labels)
    for one, row in zip(report.candidates, found.rows, strict=True):
        assert (one.name, one.is_eligible) == (row.name, row.eligible)
        assert (one.held_out, one.standard_error) == (row.rated.score, row.rated.standard_error)
        assert one.fitted == found.objective.score(row.fitted)
        assert one.labels == label_summaries(row.held_out, names)
    assert report.chosen.name == found.rows[found.recommended].name
    assert list(report.verdict) == verdict(found)
    assert (report.plan, report.n_cases, report.n_folds, report.left_out) == ("plan.yaml", 5, 3, ())
    chosen = found.rows[found.recommended].candidate.weights
    np.testing.assert_allclose(report.weights.weights, chosen / chosen.sum(axis=0), atol=1e-6)


def test_a_plan_is_shown_with_the_tuning_beside_it_and_without(tuned, copied):
    both = read_shown_plan(copied / "plan.yaml", dataset(tuned))
    assert both.tuning is not None and both.weights is not None
    assert (both.faults, both.note) == ((), "")
    (copied / "plan_tuning_report.json").unlink()
    alone = read_shown_plan(copied / "plan.yaml", dataset(tuned))
    assert alone == type(alone)(both.weights)


def test_a_report_alone_shows_the_weights_that_it_recommends(copied):
    shown = read_shown_plan(copied / "plan_tuning_report.json", None)
    assert shown.tuning is not None and shown.weights == shown.tuning.weights
    assert shown.faults == ()


def test_a_plan_that_its_tuning_does_not_recommend_is_said(tuned, copied):
    text = (copied / "plan.yaml").read_text(encoding="utf-8")
    (copied / "mine.yaml").write_text(text.partition("weights:")[0], encoding="utf-8")
    (copied / "plan_tuning_report.json").rename(copied / "tuning_report.json")  # as earlier versions wrote it
    shown = read_shown_plan(copied / "mine.yaml", dataset(tuned))
    assert shown.note.startswith("mine.yaml is not what the tuning_report.json beside it recommends")
    assert "written with plan.yaml" in shown.note and shown.faults == ()


@pytest.mark.parametrize("value", [None, 5, "text", [], {}, [[1]], {"a": None}, {"name": {}}], ids=repr)
def test_a_damaged_value_is_said_or_does_not_matter(copied, value):
    path = copied / "plan_tuning_report.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    n_refused = 0
    for damaged in _with_each_value_replaced(whole, value):
        path.write_text(json.dumps(damaged), encoding="utf-8")
        try:
            read_tuning(path)
        except DamagedFile as error:
            n_refused += 1
            assert str(path) in str(error)
    assert n_refused > 4


def _with_each_value_replaced(content, value):
    yield value
    for key in content:
        yield {**content, key: value}
    first, *others = content["candidates"]
    for key in first:
        yield {**content, "candidates": [{**first, key: value}, *others]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"candidates": [', "cannot be read"),
        ('{"gain": 1}', "is no report of nnunet_ext tune: it has no 'failed'"),
        ("[" * 100_000, "cannot be read"),
    ],
    ids=["cut", "foreign", "deep"],
)
def test_a_damaged_or_foreign_report_costs_only_itself(tuned, copied, text, said):
    (copied / "plan_tuning_report.json").write_text(text, encoding="utf-8")
    shown = read_shown_plan(copied / "plan.yaml", dataset(tuned))
    assert shown.weights is not None and shown.tuning is None
    (fault,) = shown.faults
    assert said in fault
    blocks = ensemble_blocks(material(shown))
    assert blocks[0] == MissingBlock(fault) and isinstance(blocks[1], PictureBlock)


def test_the_page_marks_the_recommended_candidate_and_tells_what_to_beware_of(tuned):
    root, found = tuned
    report = read_tuning(root / "plan_tuning_report.json")
    blocks = ensemble_blocks(material(ShownPlan(report.weights, report)))
    scores, labels = (block.table for block in blocks if isinstance(block, TableBlock))
    row = found.rows[found.recommended]
    marked = [cells for cells in scores.rows if cells[-1] == "recommended"]
    fitted = found.objective.score(row.fitted)
    values = (row.rated.score, row.rated.standard_error, fitted)
    assert [cells[:4] for cells in marked] == [(row.name, *(f"{value:.4f}" for value in values))]
    assert labels.header[3] == "right ventricle (in 4 of 5)"
    alarms = next(cells[3] for cells in labels.rows if cells[0] == "2d")
    assert alarms.endswith(" (+1 false alarm)")
    said = next(block.items for block in blocks if isinstance(block, ListBlock))
    assert any("right_ventricle: 4 of 5 cases hold it, fewer than the 5" in text for text in said)
    assert said[0].startswith(f"recommended: {row.name}, held-out score ")
    assert [block.name for block in blocks if isinstance(block, PictureBlock)] == ["weights", "candidates"]


def test_the_whole_page_holds_the_tuning(tuned, tmp_path, capsys):
    root, found = tuned
    arguments = ["-i", str(root), "-plan", str(root / "plan.yaml"), "-o", str(tmp_path), "-np", "0"]
    assert main(["report", *arguments]) == 0
    html, markdown = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    name = found.rows[found.recommended].name
    assert f'<tr class="marked"><td class="">{name}</td>' in html
    assert f"Tuning on 5 cases recommends {name}: held-out score " in html and "could not be made" not in html
    assert f"- recommended: {name}, held-out score " in markdown
    assert "(pictures/candidates.png)" in markdown
    assert (tmp_path / "pictures" / "candidates.png").is_file()
