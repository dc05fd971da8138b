import os
from pathlib import Path

import pytest

from nnunet_ext.cli import env as verb
from nnunet_ext.cli.main import main
from nnunet_ext.errors import UsageError
from nnunet_ext.installation.environment import environment_lines
from nnunet_ext.nnunet.folders import FOLDER_VARIABLES, TRAINER_VARIABLE, discovery_folder

OURS = str(discovery_folder())


def written(folder, encoding="utf-8"):
    """A folder as this system writes it from its root."""
    return os.path.abspath(folder).encode(encoding)  # noqa: PTH100


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


@pytest.fixture
def console(monkeypatch):
    """Windows, with its console on this code page."""

    def switch_to(page):
        monkeypatch.setattr(verb, "ON_WINDOWS", True)
        monkeypatch.setattr(verb, "_console_code_page", lambda: page)

    return switch_to


@pytest.mark.parametrize(
    ("page", "letter"), [("cp850", b"\x81"), ("cp1252", b"\xfc"), ("cp65001", b"\xc3\xbc")]
)
def test_cmd_gets_the_bytes_of_its_code_page_and_windows_line_ends(page, letter, console, capfdbinary):
    console(page)
    main(["env", "--shell", "cmd", "-b", "/ü"])
    first = capfdbinary.readouterr().out.splitlines(keepends=True)[0]
    assert first == b'set "nnUNet_raw=' + written("/ü/nnUNet_raw", page) + b'"\r\n'
    assert letter in first


def test_a_name_outside_the_code_page_is_refused_with_what_to_do(console):
    console("cp850")
    with pytest.raises(UsageError, match=r"'Łź' is not in .* cp850.*chcp 65001"):
        verb._encoded("/Łódź", "cmd")


def test_windows_closing_quote_is_no_part_of_the_base(console, capfdbinary):
    console("cp850")
    main(["env", "--shell", "bash", "-b", '/my data"'])
    assert b"'" + written("/my data/nnUNet_raw") + b"'" in capfdbinary.readouterr().out


def test_a_base_that_is_a_file_is_refused_and_a_missing_one_is_noted(tmp_path, capfd):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert main(["env", "--shell", "bash", "-b", str(tmp_path / "file")]) == 2
    assert "is a file" in capfd.readouterr().err
    assert main(["env", "--shell", "bash", "-b", str(tmp_path / "new")]) == 0
    shown = capfd.readouterr()
    assert "there is no folder" in shown.err and "export nnUNet_raw=" in shown.out
    assert main(["env", "--shell", "bash", "-b", str(tmp_path)]) == 0
    assert capfd.readouterr().err == ""
