"""The README's commands run as they stand, and its tables say what the code says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from factories import softmax, write_dataset_json, write_image, write_prediction

from nnunet_ext import errors
from nnunet_ext.cli.main import VERBS, main
from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.recipe_names import CODES, is_recipe, parse_recipe
from nnunet_ext.trainers.settings.variables import PREFIX

README = Path(__file__).parents[2] / "README.md"
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
    (tmp_path / "plan.yaml").write_text(block("yaml"), encoding="utf-8")
    return tmp_path


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL).group(1)


def commands(verbs: str) -> list[list[str]]:
    """Commands of these verbs in the order of the README, indented or in a table."""
    found = re.findall(rf"(?:^    |`)nnunet_ext ((?:{verbs}) [^`\n]+)", TEXT, re.MULTILINE)
    return [shlex.split(command) for command in found]


def test_the_commands_from_fold_outputs_to_a_zip_run(fold_outputs, capsys):
    ran = commands("ensemble|verify|probabilities|postprocess|submit")
    assert [command[0] for command in ran] == [
        "ensemble",
        "verify",
        "ensemble",
        "ensemble",
        "probabilities",
        "probabilities",
        "postprocess",
        "submit",
        "verify",
    ]
    (fold_outputs / "in").mkdir()
    write_dataset_json(fold_outputs / "in")
    write_image(fold_outputs / "in" / "a.nii.gz", np.zeros((5, 7, 9), np.uint8))
    for command in ran:
        assert main(command) == 0, (command, capsys.readouterr())
    assert (fold_outputs / "weighted.zip").exists()


def test_the_python_example_runs(fold_outputs):
    exec(compile(block("python"), "README.md", "exec"), {})
    assert (fold_outputs / "fused_python" / "a.nii.gz").exists()


def test_every_verb_is_named():
    for verb in VERBS:
        assert re.search(rf"`[^`]*\b{verb}\b", TEXT), verb


def code_of(setting: str) -> str:
    if setting not in CODES:
        return "-"
    return f"`{CODES[setting]}…`" if CODES[setting] else "its name"


def test_the_variables_are_the_settings_with_their_codes_and_defaults():
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| (.+?) \| (\S+) \| (.+?) \|$", TEXT, re.MULTILINE)
    assert rows == [
        (name, code_of(name), str(field.default).lower(), field.description)
        for name, field in ExtSettings.model_fields.items()
    ]


def test_the_names_with_settings_in_them_can_be_read():
    names = re.findall(r"-tr (nnUNetTrainerExt\w+)", TEXT)
    assert len(names) == 2
    assert all(is_recipe(name) and parse_recipe(name).values for name in names)


def test_the_settings_of_the_training_commands_are_taken(capsys):
    for command in commands("train"):
        assert main([*command, "--show"]) == 0
    assert "optimizer = adamw (option -optimizer)" in capsys.readouterr().out


def test_every_error_is_explained():
    named = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    ours = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert ours - named <= {"NnunetExtError", "UsageError"}
