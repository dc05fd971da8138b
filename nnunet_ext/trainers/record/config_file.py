"""`training_config.json`: the description of a training at its first start, and a list of all its starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.files.documents import read_json
from nnunet_ext.files.whole import write_json

STARTS, CHANGED = "starts", "changed_settings"


@dataclass(frozen=True)
class WrittenConfig:
    """The content of a training_config.json that was written.

    Attributes:
        content: the whole content.
        remark: a sentence on an older file that is missing or damaged; else None.
    """

    content: dict[str, Any]
    remark: str | None = None


def write_config(
    path: Path,
    describe: Callable[[], Mapping[str, Any]],
    start: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
) -> WrittenConfig:
    """Write the record of a training that starts or is continued.

    Args:
        path: the file.
        describe: describes the training; called only if there is no description yet.
        start: description of this start. Its `epoch` is the first one to be trained; if that is not 0, the
            older content is kept and the start is added to its list.
        settings: settings of this start, by name with `value` and `source`. Those that differ from the start
            before are recorded as `changed_settings`.

    Returns:
        What was written. A damaged older file is renamed.

    Raises:
        OSError: the file cannot be read or written; it is left as it is.
    """
    remark = None
    if start["epoch"] > 0:
        older, remark = _read(path)
        if older is not None:
            changed = changed_settings(_values_so_far(older), settings)
            return _write(path, {**older, STARTS: [*older[STARTS], {**start, CHANGED: changed}]})
    return _write(path, {**describe(), STARTS: [{**start, CHANGED: {}}]}, remark)


def _values_so_far(record: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the settings of the last start: the recorded ones with the changes of each start."""
    try:
        values = {name: one["value"] for name, one in record["settings"].items()}
        for start in record[STARTS]:
            values |= {name: one["now"] for name, one in start.get(CHANGED, {}).items()}
    except (KeyError, TypeError, AttributeError):
        return {}  # the file was edited by hand
    return values


def _read(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    try:
        older = read_json(path)
        if isinstance(older[STARTS], list):
            return older, None
        fault = f"its {STARTS} are no list"
    except FileNotFoundError:
        return None, f"There was no {path.name} of the earlier starts of this training; a new one is written."
    except (ValueError, KeyError, TypeError) as error:
        fault = f"{type(error).__name__}: {error}"
    aside = path.with_name(f"{path.stem}_damaged{path.suffix}")
    path.replace(aside)
    remark = f"{path.name} was damaged ({fault}); it is now {aside.name}, and a new one is written."
    return None, remark


def _write(path: Path, content: dict[str, Any], remark: str | None = None) -> WrittenConfig:
    plain = json.loads(json.dumps(content, default=str))
    write_json(plain, path)
    return WrittenConfig(plain, remark)


def changed_settings(
    before: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """List the settings whose value has changed, with old and new value and the new one's source."""
    plain = json.loads(json.dumps(now, default=str))
    return {
        name: {"was": before[name], "now": one["value"], "source": one["source"]}
        for name, one in plain.items()
        if name in before and before[name] != one["value"]
    }
