"""JSON, YAML and CSV files that anybody may have written: read within bounds, and checked before use.

A fault of the file is a `ValueError` of one line or a few; what the system does not let be read is the
`OSError` that it raises.
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
    """Refuse what is no file before it is opened: a pipe would be waited for, a device has no end.

    Returns:
        The file's size in bytes.

    Raises:
        ValueError: it is a pipe, socket or device.
        OSError: it does not exist, cannot be looked at, or is a folder.
    """
    if kind := other_kind(path):
        raise ValueError(f"it is {kind}, not a file")
    return path.stat().st_size


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, or of UTF-16 where a byte order mark says so; without the mark.

    Raises:
        ValueError: it is no file, holds more than 256 MiB, or is no UTF-8.
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
    """The content of a JSON file; NaN and Infinity are read, as Python and nnU-Net write them.

    Raises:
        ValueError: it is damaged, no UTF-8, nested more than 64 levels deep, or has a key twice.
        OSError: it does not exist, or cannot be opened now.
    """
    return parse_json(read_text(path))


def parse_json(text: str) -> Any:
    """The content of JSON text.

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
    """Refuse deep nesting: what walks through the content later need not think of it."""
    level = [content]
    for _ in range(MAX_DEPTH):
        inner = [one for one in level if isinstance(one, (dict, list)) and one]
        if not inner:
            return
        level = [value for one in inner for value in (one.values() if isinstance(one, dict) else one)]
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, of plain values only.

    Raises:
        ValueError: as `compose_yaml`.
        OSError: it does not exist, or cannot be opened now.
    """
    return parse_yaml(read_text(path))


def parse_yaml(text: str) -> Any:
    """The content of YAML text, of plain values only.

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
    """The nodes of YAML text; None where it is empty.

    Args:
        text: the YAML.
        with_twins: keep a key that is given twice for the caller to tell.

    Raises:
        ValueError: it is no YAML, nested more than 64 levels deep, has a key twice, an alias within what
            it stands for, or with what its aliases stand for more than 100,000 values.
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
    """Values in a node, those that its aliases stand for each time again."""
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
    """The header and rows of a CSV file, separated by commas, semicolons or tabs.

    Empty lines are passed over, and missing cells are empty.

    Raises:
        ValueError: it is no UTF-8 text, a row has more cells than the header, or csv cannot part it.
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
    """What a form makes of a content.

    Raises:
        ValueError: the content is not of that form; says of each fault where it is and what was found.
    """
    from pydantic import ValidationError

    try:
        return form.validate_python(content)
    except ValidationError as error:
        raise ValueError(in_words(error)) from None


def in_words(error: ValidationError) -> str:
    """The faults of a content, parted by semicolons: `labels.liver: Input should be … (found 'a')`."""
    faults = list(dict.fromkeys(faults_of(error)))
    more = [f"{len(faults) - SHOWN_FAULTS} more faults"] if len(faults) > SHOWN_FAULTS else []
    return "; ".join([*faults[:SHOWN_FAULTS], *more])


def faults_of(error: ValidationError) -> list[str]:
    """Each fault of a content: where it is, what is allowed, and what was found."""
    return [
        f"{'.'.join(str(part) for part in fault['loc']) or 'the file'}: {fault['msg']}; "
        f"found {shortened(fault['input'])}"
        for fault in error.errors(include_url=False, include_context=False)
    ]


def shortened(value: Any) -> str:
    """A value for a message, on one line and of at most 80 letters."""
    if isinstance(value, (Mapping, list)) and len(value) > SHOWN_FAULTS:
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)} entries"
    text = repr(value)
    return text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS - 1]}…"
