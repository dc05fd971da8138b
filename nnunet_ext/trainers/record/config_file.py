"""`training_config.json`: what a training is, recorded when it first began, and each of its starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.documents import read_json
from nnunet_ext.files import write_json

STARTS = "starts"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        content: the whole record.
        remark: what became of an older one that could not be gone on with, a sentence, else None.
    """

    content: dict[str, Any]
    remark: str | None = None


def write_config(path: Path, describe: Callable[[], Mapping[str, Any]], start: Mapping[str, Any]) -> Written:
    """Write the record of a training that begins or goes on.

    Args:
        path: the file.
        describe: tells what the training is, where that is not recorded yet.
        start: this start of it; its `epoch` is the first to be trained. Where that is not 0 the
            content of an older record stays as it is, and the start joins the others.

    Returns:
        What was written. A damaged record is put aside under another name.

    Raises:
        OSError: the file cannot be read or written; it is left as it is.
    """
    remark = None
    if start["epoch"] > 0:
        older, remark = _read(path)
        if older is not None:
            return _write(path, {**older, STARTS: [*older[STARTS], dict(start)]})
    return _write(path, {**describe(), STARTS: [dict(start)]}, remark)


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


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings whose value is not the one that a checkpoint recorded."""
    return {
        name: {"was": before[name], "now": value}
        for name, value in now.items()
        if name in before and before[name] != value
    }
