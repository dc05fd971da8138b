"""JSON, YAML and CSV files of any origin: read within bounds, and checked before use.

A fault of a file's content is a `ValueError` with a short message; where the system does not let the file be
read, its `OSError` is passed on.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.files.names import other_kind

if TYPE_CHECKING:
    import yaml
    from pydantic import TypeAdapter, ValidationError

MAX_TEXT_BYTES = 1 << 28
MAX_DEPTH = 64
MAX_YAML_NODES = 100_000  # with what its aliases stand for
SHOWN_FAULTS, SHOWN_LETTERS = 8, 80


def check_is_file(path: Path) -> int:
    """Refuse a path that is no regular file before it is opened: reading a pipe or device may never end.

    Returns:
        The size of the file in bytes.

    Raises:
        ValueError: the path is a pipe, socket or device.
        OSError: it does not exist, cannot be looked up, or is a folder.
    """
    if kind := other_kind(path):
        raise ValueError(f"it is {kind}, not a file")
    return path.stat().st_size


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 where it begins with that byte order mark.

    Raises:
        ValueError: it is no regular file, has more than 256 MiB, or is no UTF-8.
        OSError: it does not exist, or cannot be opened now.
    """
    size = check_is_file(path)
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"it has {size >> 20} MiB, and at most {MAX_TEXT_BYTES >> 20} MiB are read")
    data = path.read_bytes()
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as PowerShell 5 writes
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is 0x{data[error.start]:02x}"
        raise ValueError(f"it is no UTF-8 text: {found}. Save it again as UTF-8") from None


def read_json(path: Path) -> Any:
    """Read a JSON file; NaN and Infinity are allowed, as Python and nnU-Net write them.

    Raises:
        ValueError: it is damaged, is no UTF-8, nested more than 64 levels deep, or has a key twice.
        OSError: it does not exist, or cannot be opened now.
    """
    return parse_json(read_text(path))


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of an object; empty where the file cannot be read or holds something else."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def parse_json(text: str) -> Any:
    """Parse JSON text.

    Raises:
        ValueError: as `read_json`.
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it cannot be read as JSON: {error}") from None
    _check_depth(content)
    return content


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shortened(twin)} is given twice")
    return content


def _check_depth(content: Any) -> None:
    """Refuse deep nesting, so that later code may walk through the content recursively."""
    level = [content]
    for _ in range(MAX_DEPTH):
        inner = [one for one in level if isinstance(one, (dict, list)) and one]
        if not inner:
            return
        level = [value for one in inner for value in (one.values() if isinstance(one, dict) else one)]
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        ValueError: as `compose_yaml`.
        OSError: it does not exist, or cannot be opened now.
    """
    return parse_yaml(read_text(path))


def parse_yaml(text: str) -> Any:
    """Parse YAML text of plain values.

    Raises:
        ValueError: as `compose_yaml`.
    """
    import yaml

    node = compose_yaml(text)
    if node is None:
        return None
    constructor = yaml.constructor.SafeConstructor()
    try:
        return constructor.construct_document(node)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise ValueError(_on_one_line(error)) from None


def compose_yaml(text: str, *, with_twins: bool = False) -> yaml.Node | None:
    """Parse YAML text into nodes, which keep their line numbers; None where the text is empty.

    Args:
        text: the YAML.
        with_twins: whether to allow a key that is given twice, for the caller to report.

    Raises:
        ValueError: the text is no YAML, is nested more than 64 levels deep, has a key twice, has an alias
            within the value that it stands for, or has more than 100,000 values, those of aliases included.
    """
    import yaml

    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(_on_one_line(error)) from None
    if node is not None:
        _count_nodes(node, {}, 0, with_twins)
    return node


def _count_nodes(node: yaml.Node, counted: dict[int, int], depth: int, with_twins: bool) -> int:
    """Number of values in a node, where the values of an alias count each time it is used."""
    import yaml

    if depth > MAX_DEPTH:
        raise ValueError(f"line {node.start_mark.line + 1}: it is nested more than {MAX_DEPTH} levels deep")
    if id(node) in counted:
        if not counted[id(node)]:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias stands within what it stands for")
        return counted[id(node)]
    counted[id(node)] = 0
    inner: Iterator[yaml.Node] = iter(())
    if isinstance(node, yaml.MappingNode):
        if not with_twins:
            _check_keys(node)
        inner = (one for pair in node.value for one in pair)
    elif isinstance(node, yaml.SequenceNode):
        inner = iter(node.value)
    total = 1
    for one in inner:
        total += _count_nodes(one, counted, depth + 1, with_twins)
        if total > MAX_YAML_NODES:
            raise ValueError(
                f"line {node.start_mark.line + 1}: it holds more than {MAX_YAML_NODES} values, those of its "
                "aliases counted in"
            )
    counted[id(node)] = total
    return total


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key.value, str):
            continue
        if (key.tag, key.value) in seen:
            raise ValueError(f"line {key.start_mark.line + 1}: the key {shortened(key.value)} is given twice")
        seen.add((key.tag, key.value))


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_table(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Read the header and rows of a CSV file, separated by commas, semicolons or tabs.

    Empty lines are skipped, and missing cells are empty texts.

    Raises:
        ValueError: the file is no UTF-8 text, a row has more cells than the header, or a
            line cannot be parsed.
        OSError: it does not exist, or cannot be opened now.
    """
    text = read_text(path)
    separator = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: tuple[str, ...] = ()
    rows = []
    try:
        for cells in reader:
            if not header:
                header = tuple(cells)
            elif len(cells) > len(header):
                raise ValueError(f"line {reader.line_num} has {len(cells)} cells, the header {len(header)}")
            elif cells:
                rows.append(dict(zip(header, [*cells, *[""] * len(header)], strict=False)))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    return header, rows


def check_content(form: TypeAdapter[Any], content: Any) -> Any:
    """Check a content by a pydantic form, and return the value that the form makes of it.

    Raises:
        ValueError: the content is not of that form; the message names each fault with its place and value.
    """
    from pydantic import ValidationError

    try:
        return form.validate_python(content)
    except ValidationError as error:
        raise ValueError(describe_faults(error)) from None


def describe_faults(error: ValidationError) -> str:
    """The faults of a content, separated by semicolons: `labels.liver: Input should be …; found 'a'`."""
    faults = list(dict.fromkeys(faults_of(error)))
    more = [f"{len(faults) - SHOWN_FAULTS} more faults"] if len(faults) > SHOWN_FAULTS else []
    return "; ".join([*faults[:SHOWN_FAULTS], *more])


def faults_of(error: ValidationError) -> list[str]:
    """Each fault of a content: its place, what is allowed there, and the value found."""
    return [
        f"{'.'.join(str(part) for part in fault['loc']) or 'the file'}: {fault['msg']}; "
        f"found {shortened(fault['input'])}"
        for fault in error.errors(include_url=False, include_context=False)
    ]


def shortened(value: Any) -> str:
    """A value for a message, on one line and with at most 80 letters."""
    if isinstance(value, (Mapping, list)) and len(value) > SHOWN_FAULTS:
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)} entries"
    text = repr(value)
    return text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS - 1]}…"
