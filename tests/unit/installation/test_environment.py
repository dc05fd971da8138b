import os
from pathlib import Path

import pytest

from nnunet_ext.cli.main import main
from nnunet_ext.installation.environment import environment_lines
from nnunet_ext.paths import FOLDER_VARIABLES, TRAINER_VARIABLE, discovery_folder

OURS = str(discovery_folder())


def values(base=None, **environment):
    return environment_lines("bash", base, environment).values


def test_all_four_variables_are_set_in_one_order():
    assert tuple(values()) == (*FOLDER_VARIABLES, TRAINER_VARIABLE)


def test_a_base_holds_all_three_folders_even_those_set_elsewhere(tmp_path):
    found = values(tmp_path, nnUNet_raw="/elsewhere")
    assert [found[name] for name in FOLDER_VARIABLES] == [str(tmp_path / name) for name in FOLDER_VARIABLES]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_relative_base_becomes_absolute_without_following_links(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert values(Path("link") / "sub" / "..")["nnUNet_raw"] == str(tmp_path / "link" / "nnUNet_raw")


def test_without_a_base_a_folder_that_is_set_is_kept_to_the_letter():
    assert values(nnUNet_results="../my results/")["nnUNet_results"] == "../my results/"


@pytest.mark.parametrize("blank", ["", "  "])
def test_without_a_base_an_unset_or_blank_folder_lies_in_the_current_one(blank, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert values(nnUNet_raw=blank)["nnUNet_raw"] == str(tmp_path / "nnUNet_raw")


def test_our_folder_is_appended_to_the_trainers_of_the_user():
    assert values(nnUNet_extTrainer="/mine")[TRAINER_VARIABLE] == os.pathsep.join(["/mine", OURS])


def test_our_folder_is_never_named_twice():
    once = values()[TRAINER_VARIABLE]
    assert values(nnUNet_extTrainer=once)[TRAINER_VARIABLE] == once == OURS


def test_no_folder_is_made(tmp_path):
    values(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="file names are no bytes on Windows")
def test_the_verb_prints_file_names_byte_for_byte(tmp_path, capfdbinary):
    base = os.fsencode(tmp_path) + b"/\xff\xc3\xbc"
    assert main(["env", "--shell", "bash", "-b", os.fsdecode(base)]) == 0
    assert capfdbinary.readouterr().out.splitlines()[0] == b"export nnUNet_raw='" + base + b"/nnUNet_raw'"
