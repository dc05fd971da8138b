"""The JSON Schema of plans takes what `read_plan` takes, so that an editor underlines no right plan."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from nnunet_ext.ensemble.plan_file import PlanFile
from nnunet_ext.ensemble.plan_schema import MEANINGS, STEP_MEANINGS, plan_schema
from nnunet_ext.postprocess.steps import STEP_OPTIONS

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[3]
PAGES = [path for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if path.exists()]
SHOWN = [
    text
    for path in PAGES
    for text in re.findall(r"```yaml.*?\n(.*?)```", path.read_text(encoding="utf-8"), re.S)
    if "members:" in text
]
RIGHT = [
    *SHOWN,
    "members: {a: folder, b: [one, two]}",
    "members: {a: {results: {d: 1, c: 2d, f: 0}}}",
    "members: {a: {results: {d: Dataset001_X, c: 2d, f: [0, all]}, folds: logits}}",
    "members: {a: {folders: x, weights: [2]}}\nweights: {labels: {3: {a: 1}}}",
    "members: {a: x}\npostprocess: [keep_largest, {keep_largest: }, {fill_holes: {labels: 2, union: true}}]",
    "members: {a: x}\npostprocess:\n- remove_small: {labels: [a, 3], min_volume_mm3: 5}",
]
WRONG = [
    "members: {}",
    "member: {a: x}",
    "members: {a: {folder: x}}",
    "members: {a: {results: {d: 1}}}",
    "members: {a: {folders: x, step_size: 2}}",
    "members: {a: {folders: x, weights: [-1]}}",
    "members: {a: x}\nweights: {default: {a: -1}}",
]
WRONG_STEPS = [
    "members: {a: x}\npostprocess: [keep_larges]",
    "members: {a: x}\npostprocess: [remove_small]",
    "members: {a: x}\npostprocess: [{keep_largest: {connectivity: 7}}]",
    "members: {a: x}\npostprocess: [{keep_largest: {}, fill_holes: {}}]",
]


def is_taken(text: str) -> bool:
    return jsonschema.Draft202012Validator(plan_schema()).is_valid(yaml.safe_load(text))


@pytest.mark.parametrize("text", RIGHT)
def test_a_right_plan_is_right_by_the_schema(text):
    PlanFile.model_validate(yaml.safe_load(text))
    assert is_taken(text)


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_plan_is_wrong_by_the_schema(text):
    with pytest.raises(ValidationError):
        PlanFile.model_validate(yaml.safe_load(text))
    assert not is_taken(text)


@pytest.mark.parametrize("text", WRONG_STEPS)
def test_a_wrong_step_is_wrong_by_the_schema(text):
    assert not is_taken(text)


def test_every_key_and_step_is_explained():
    schema = plan_schema()
    member = schema["$defs"]["_Member"]["anyOf"][-1]
    for one in (schema, member, schema["$defs"]["_Results"], schema["$defs"]["_Weights"]):
        assert all(entry.get("description") for entry in one["properties"].values())
    assert STEP_MEANINGS.keys() == STEP_OPTIONS.keys() and "members" in MEANINGS
