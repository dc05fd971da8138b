"""Files that appear under their name only when they are whole, and files that are not data."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

JUNK_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})
PART_MARK = ".part-"
CHUNK_BYTES = 1 << 20


def is_junk(name: str) -> bool:
    """Whether a file name is one that macOS or Windows leaves beside data (`._case.npz`, `Thumbs.db`)."""
    return name.startswith("._") or name in JUNK_NAMES


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to, and move it there when the block ends without an error.

    The part file keeps the target's endings, since writers choose their format by them, and starts
    with `.part-`, so that no reader takes one that a killed process left for data; the next to write
    the same target removes it.

    Args:
        target: the file to write; its folder is made.

    Yields:
        The path to write to. After an error it is removed and an older `target` is untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, target.name)
    part = target.with_name(f"{PART_MARK}{os.getpid()}-{target.name}")
    try:
        yield part
        os.replace(part, target)  # noqa: PTH105, the name that says what it does
    finally:
        part.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove the part files of killed writers, of one target or of all in a folder."""
    for found in os.listdir(folder):  # noqa: PTH208, quicker than a path for each of many cases
        if not found.startswith(PART_MARK):
            continue
        writer, _, target = found.removeprefix(PART_MARK).partition("-")
        if name not in (None, target) or not writer.isdecimal():
            continue
        import psutil  # only where a process was killed

        if not psutil.pid_exists(int(writer)):
            (folder / found).unlink(missing_ok=True)


def write_json(content: Any, target: Path) -> None:
    """Write `content` as indented UTF-8 JSON, whole or not at all."""
    with written_whole(target) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
