import os

import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.folders import (
    discovery_folder,
    find_dataset,
    is_dataset,
    results_folder,
    same_folder,
    trainer_folders,
    with_discovery,
)

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


@pytest.fixture
def three_folders(tmp_path):
    for part, name in (
        ("raw", "Dataset004_Liver"),
        ("results", "Dataset004_Liver"),
        ("raw", "Dataset040_Heart"),
    ):
        (tmp_path / part / name).mkdir(parents=True)
    return {f"nnUNet_{part}": str(tmp_path / part) for part in ("raw", "preprocessed", "results")}


@pytest.mark.parametrize("key", [4, "4", "004", "Dataset004_Liver"])
def test_a_data_set_is_found_by_number_and_by_name(three_folders, key, tmp_path):
    found = find_dataset(key, three_folders)
    assert found.raw == tmp_path / "raw" / "Dataset004_Liver"
    assert (found.name, found.preprocessed) == ("Dataset004_Liver", None)


def test_a_number_of_no_data_set_or_of_two_is_refused(three_folders, tmp_path):
    with pytest.raises(UsageError, match="no data set of that name or number"):
        find_dataset(5, three_folders)
    (tmp_path / "raw" / "Dataset004_Other").mkdir()
    with pytest.raises(UsageError, match="Dataset004_Liver and Dataset004_Other share that number"):
        find_dataset(4, three_folders)


@pytest.fixture
def results(tmp_path):
    for name in ("Dataset004_Hippocampus", "Dataset012_Liver", "elsewhere"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize("asked", ["4", "004", "Dataset004_Hippocampus"])
def test_a_data_set_is_known_by_its_number_or_name(results, asked):
    assert results_folder(asked, {"nnUNet_results": str(results)}).name == "Dataset004_Hippocampus"


@pytest.mark.parametrize(
    ("environment", "message"),
    [({}, "is not set"), ({"nnUNet_results": "/no/such/folder"}, "the first training makes it")],
)
def test_results_that_are_nowhere_are_wrong_usage(environment, message):
    with pytest.raises(UsageError, match=message):
        results_folder(None, environment)


def test_a_data_set_without_results_is_answered_with_those_there_are(results):
    with pytest.raises(UsageError, match="Dataset012_Liver"):
        results_folder("7", {"nnUNet_results": str(results)})
    assert not is_dataset("12", "Liver")
