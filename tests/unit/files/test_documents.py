"""Files that anybody may have written are read within bounds, and their faults told in a line."""

import os
import sys

import pytest

from nnunet_ext.files.documents import parse_json, parse_yaml, read_json, read_table, read_text, shortened


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ("[" * 65 + "]" * 65, "nested more than 64"),
        ("[" * 100_000, "nested more than 64"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested more than 64"),
    ],
)
def test_damaged_json_is_told(text, fault):
    with pytest.raises(ValueError, match=fault):
        parse_json(text)


def test_json_is_read_as_python_and_powershell_write_it(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + '{"Dice": NaN, "name": "Müller"}'.encode())
    assert read_json(path)["name"] == "Müller"
    path.write_text('{"name": "Müller"}', encoding="utf-16")
    assert read_json(path) == {"name": "Müller"}
    path.write_text('{"name": "Müller"}', encoding="cp1252")
    with pytest.raises(ValueError, match=r"no UTF-8 text: byte 11 is 0xfc\. Save it again as UTF-8"):
        read_json(path)
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match="no UTF-8 text"):
        read_json(path)


def test_what_is_no_file_is_never_opened(tmp_path):
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "nothing")
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match="it is a named pipe"):
            read_text(tmp_path / "pipe")
        with pytest.raises(ValueError, match="it is a device"):
            read_text(type(tmp_path)("/dev/zero"))


def bomb(n_levels=9):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, n_levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (bomb(), "holds more than 100000 values"),
        ("a: &a [*a]", "stands within what it stands for"),
        ("a: 1\na: 2", "line 2: the key 'a' is given twice"),
        ("- [\n", "line 2"),
        ("[" * 100_000, "nested more than 64"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: 2026-99-99", "month"),
        ("? [a, b]\n: 1", "unhashable"),
    ],
)
def test_hostile_yaml_is_told(text, fault):
    with pytest.raises(ValueError, match=fault):
        parse_yaml(text)


def test_yaml_with_aliases_is_read():
    assert parse_yaml("a: &a [1, 2]\nb: *a") == {"a": [1, 2], "b": [1, 2]}
    assert parse_yaml("") is None


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_are_read_whatever_parts_their_cells(tmp_path, separator):
    path = tmp_path / "a.csv"
    text = '\ufeffcase,subject\r\n\r\na,1\rb,"2\n3"\nc\n'.replace(",", separator)
    path.write_text(text, encoding="utf-8", newline="")
    header, rows = read_table(path)
    assert header == ("case", "subject")
    assert rows == [
        {"case": "a", "subject": "1"},
        {"case": "b", "subject": "2\n3"},
        {"case": "c", "subject": ""},
    ]


def test_tables_that_csv_cannot_part_are_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("case,subject\na," + "x" * 200_000, encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: field larger than"):
        read_table(path)
    path.write_text("case\na,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 has 2 cells, the header 1"):
        read_table(path)


def test_values_in_messages_are_short_and_on_one_line():
    assert shortened("a\nb") == r"'a\nb'"
    assert len(shortened("x" * 1000)) == 80
    assert shortened(list(range(1000))) == "a list of 1000 entries"
