import os

import pytest

from nnunet_ext.paths import discovery_folder, same_folder, trainer_folders, with_discovery

OURS = str(discovery_folder())


def joined(*folders):
    return os.pathsep.join(folders)


def test_the_discovery_folder_holds_one_module_and_is_no_package():
    assert [file.name for file in discovery_folder().glob("*.py")] == ["nnunet_ext_trainers.py"]


def test_blank_parts_name_no_folder():
    assert trainer_folders({"nnUNet_extTrainer": joined("", "/a", " ", "/b", "")}) == ["/a", "/b"]


@pytest.mark.parametrize("value", ["", joined("", "")])
def test_an_empty_variable_becomes_our_folder(value):
    assert with_discovery({"nnUNet_extTrainer": value}) == OURS
    assert with_discovery({}) == OURS


def test_the_users_folders_keep_their_order_and_ours_comes_last():
    assert with_discovery({"nnUNet_extTrainer": joined("/b", "/a")}) == joined("/b", "/a", OURS)


@pytest.mark.parametrize("spelling", [OURS, OURS + os.sep, os.path.join(OURS, "..", "discovery")])  # noqa: PTH118
def test_our_folder_is_known_in_any_spelling(spelling):
    value = joined(spelling, "/a")
    assert with_discovery({"nnUNet_extTrainer": value}) == value


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_a_folder_is_the_same_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert same_folder(tmp_path / "link", tmp_path / "real")
    assert not same_folder(tmp_path, tmp_path / "real")
