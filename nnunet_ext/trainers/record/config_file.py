"""`training_config.json`: what a training is, recorded when it first began, and each of its starts."""

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
class Written:
    """What was written.

    Attributes:
        content: the whole record.
        remark: what became of an older one that could not be gone on with, a sentence, else None.
    """

    content: dict[str, Any]
    remark: str | None = None


def write_config(
    path: Path,
    describe: Callable[[], Mapping[str, Any]],
    start: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
) -> Written:
    """Write the record of a training that begins or goes on.

    Args:
        path: the file.
        describe: tells what the training is, where that is not recorded yet.
        start: this start of it; its `epoch` is the first to be trained. Where that is not 0 the
            content of an older record stays as it is, and the start joins the others.
        settings: those of this start, by name with `value` and `source`; what is not as it was at the
            start before is recorded as `changed_settings`.

    Returns:
        What was written. A damaged record is put aside under another name.

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
    """The settings of the last start: the recorded ones with what each start has changed since."""
    try:
        values = {name: one["value"] for name, one in record["settings"].items()}
        for start in record[STARTS]:
            values |= {name: one["now"] for name, one in start.get(CHANGED, {}).items()}
    except (KeyError, TypeError, AttributeError):
        return {}  # of a record that somebody wrote into
    return values


def _read(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    try:
        older = read_json(path)
        if isinstance(older[STARTS], list):
            return older, None
        fault = f"its {STARTS} are no list"
    except FileNotFoundError:
        return None, f"There was no {path.name} from the beginning of this training; one begins here."
    except (ValueError, KeyError, TypeError) as error:
        fault = f"{type(error).__name__}: {error}"
    aside = path.with_name(f"{path.stem}_damaged{path.suffix}")
    path.replace(aside)
    remark = f"{path.name} could not be gone on with ({fault}); it is now {aside.name}, and one begins here."
    return None, remark


def _write(path: Path, content: dict[str, Any], remark: str | None = None) -> Written:
    plain = json.loads(json.dumps(content, default=str))
    write_json(plain, path)
    return Written(plain, remark)


def changed_settings(
    before: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Settings whose value is another one than before, with where the new one came from."""
    plain = json.loads(json.dumps(now, default=str))
    return {
        name: {"was": before[name], "now": one["value"], "source": one["source"]}
        for name, one in plain.items()
        if name in before and before[name] != one["value"]
    }
