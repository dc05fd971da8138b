"""The short ways of README and documentation run as they stand; `test_docs.py` runs the long ones."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from factories import softmax, write_dataset_json, write_image, write_prediction

from nnunet_ext import errors
from nnunet_ext.cli.main import main
from nnunet_ext.cli.verbs import VERBS
from nnunet_ext.ensemble.plan_file import read_plan
from nnunet_ext.postprocess.steps import STEP_OPTIONS
from nnunet_ext.trainers.settings.recipe_names import is_recipe, parse_recipe

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""

pytestmark = pytest.mark.skipif(not TEXT, reason="the README is not beside these tests")


@pytest.fixture
def fold_outputs(tmp_path, monkeypatch):
    """The folders that the README speaks of."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("2d_f0", "2d_f1", "full_f0")):
        write_dataset_json(tmp_path / "pred" / name)
        for case in ("a", "b"):
            write_prediction(tmp_path / "pred" / name, case, softmax(seed))
    for case in ("a", "b"):
        write_image(tmp_path / "imagesTs" / f"{case}_0000.nii.gz", np.zeros((5, 7, 9), np.float32))
    write_dataset_json(tmp_path)
    return tmp_path


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Indented commands, in their order."""
    return [shlex.split(line) for line in re.findall(r"^    nnunet_ext (.+)$", text, re.MULTILINE)]


def test_the_readme_is_short():
    assert len(TEXT.splitlines()) <= 150


def test_the_commands_from_fold_outputs_to_a_zip_run(fold_outputs, capsys):
    section = TEXT[TEXT.index("## From fold outputs") : TEXT.index("## The verbs")]
    (plan,) = blocks(README, "yaml")
    (fold_outputs / "plan.yaml").write_text(plan, encoding="utf-8")
    ran = commands(section)
    assert [command[0] for command in ran] == ["ensemble", "verify", "ensemble"]
    for command in ran:
        assert main(command) == 0, (command, capsys.readouterr())
    assert (fold_outputs / "weighted.zip").exists()


def test_every_verb_is_named():
    for verb in VERBS:
        assert f"`{verb}`" in TEXT, verb


def test_the_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert len(links) > 6 and [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not beside these tests")
class TestDocumentation:
    """What the pages of the documentation show."""

    def test_the_python_example_runs(self, fold_outputs):
        (example,) = blocks(DOCS / "reference" / "python-api.md", "python")
        exec(compile(example, "python-api.md", "exec"), {})
        assert (fold_outputs / "fused_python" / "a.nii.gz").exists()

    def test_the_plans_are_read(self, fold_outputs):
        plans = blocks(DOCS / "reference" / "plan-files.md", "yaml")
        assert len(plans) == 2
        for text in plans:
            (fold_outputs / "plan.yaml").write_text(text, encoding="utf-8")
            assert len(read_plan(fold_outputs / "plan.yaml").members) == 2

    def test_every_error_is_explained(self):
        text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
        named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
        ours = {
            name
            for name, kind in vars(errors).items()
            if isinstance(kind, type) and kind.__module__ == errors.__name__
        }
        assert ours - named <= {"NnunetExtError", "UsageError"} and named <= ours

    def test_every_step_is_explained(self):
        text = (DOCS / "reference" / "plan-files.md").read_text(encoding="utf-8")
        assert set(re.findall(r"^\| `(\w+)` \| `(?:labels|min_volume_mm3)`", text, re.MULTILINE)) == set(
            STEP_OPTIONS
        )

    def test_the_names_with_settings_in_them_can_be_read(self):
        texts = [path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")]
        names = [name for text in texts for name in re.findall(r"\b(nnUNetTrainerExt_[a-z]\w+)", text)]
        assert names and all(is_recipe(name) and parse_recipe(name).values for name in names)


PICTURE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<path>[^)]+)\)")


@pytest.mark.skipif(not DOCS.exists(), reason="no docs here")
def test_every_picture_of_the_pages_is_there_is_small_and_is_described():
    pages = [README, *DOCS.rglob("*.md")]
    found = [(page, one) for page in pages for one in PICTURE.finditer(page.read_text(encoding="utf-8"))]
    shown = {(page.parent / one["path"]).resolve() for page, one in found}
    assert all(len(one["text"]) > 20 for _, one in found)
    assert shown == set((DOCS / "assets").resolve().glob("*.png"))
    assert all(path.stat().st_size < 150_000 for path in shown)
