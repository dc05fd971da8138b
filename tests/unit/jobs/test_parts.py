import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.jobs.execution import Part


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7])
def test_all_parts_together_are_all_items_once(n_parts):
    items = list("abcde")
    parts = [Part.parse(f"{number}/{n_parts}").select(items) for number in range(1, n_parts + 1)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/2/3"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UsageError, match="1/"):
        Part.parse(text)


def test_a_part_has_files_of_its_own():
    assert Part(2, 3).named("report.json") == "report_2of3.json"
