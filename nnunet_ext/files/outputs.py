"""Checks of the place that a run writes to, before its work begins: none is lost, and no other file replaced.

A file that this package wrote is replaced, as a repeated command expects; any other file only with
`--overwrite`.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.files.documents import read_json

REPORTS = ("ensemble_report", "postprocess_report", "predict_report", "roi_report")
SEGMENTATIONS = "segmentations"  # key in a report: names of the files beside it that runs wrote
HEAD_BYTES = 4096
N_SHOWN = 5
PNG_AUTHOR = {"Software": "nnunet_ext"}  # by which a picture of ours is known
IsOurs = Callable[[Path], bool]


def make_folder(folder: Path) -> None:
    """Make the folder that a run writes to, and write a probe file to it.

    Raises:
        UsageError: the path is a file, the folder must not be written to, or its disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(1))
            probe.flush()
    except OSError as error:
        said = (
            "a file of that name is there" if isinstance(error, FileExistsError) else error.strerror or error
        )
        raise UsageError(f"Nothing can be written to {folder}: {said}. Choose another folder.") from error


def check_segmentations(folder: Path, names: Iterable[str], *, overwrite: bool) -> dict[str, list[str]]:
    """Make the folder of a run's segmentations, and refuse to replace files that no run wrote.

    Args:
        folder: folder of the segmentations, whose reports name the files that runs wrote.
        names: names of the files that the run will write.
        overwrite: whether to replace any file.

    Returns:
        The entry of the run's report that names all segmentations of runs, for later runs to read.

    Raises:
        UsageError: nothing can be written there, or other files have these names.
    """
    make_folder(folder)
    names = list(names)
    reports = [path for path in folder.glob("*_report*.json") if path.stem.startswith(REPORTS)]
    lists = [_listed(path) for path in reports]
    known = {name for listed in lists for name in listed or ()}
    taken = [name for name in names if name not in known and os.path.lexists(folder / name)]
    if taken and not overwrite and None not in lists:
        shown = ", ".join(taken[:N_SHOWN]) + (" …" if len(taken) > N_SHOWN else "")
        raise UsageError(
            f"{folder} holds {len(taken)} files of these names, and no report of a run that wrote them: "
            f"{shown}. Choose another folder with -o, or replace them with --overwrite."
        )
    return {SEGMENTATIONS: sorted(known.union(names))} if None not in lists else {}


def _listed(report: Path) -> list[str] | None:
    """The segmentations that a report names; None for all files, as of reports of older versions."""
    try:
        content = read_json(report)
    except (OSError, ValueError):
        return None
    listed = content.get(SEGMENTATIONS) if isinstance(content, dict) else None
    return [str(name) for name in listed] if isinstance(listed, list) else None


def check_file(target: Path, is_ours: IsOurs, kind: str, *, overwrite: bool = False) -> None:
    """Make the folder of a file that a run writes, and refuse to replace a file of another kind.

    Args:
        target: the file.
        is_ours: whether an existing file is one that this verb writes.
        kind: what this verb writes, with its article, such as `a submission`.
        overwrite: whether to replace any file.

    Raises:
        UsageError: nothing can be written there, the target is a folder, or an existing file is of another
            kind.
    """
    make_folder(target.parent)
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name {kind} in it.")
    if overwrite or not os.path.lexists(target):
        return
    try:
        ours = is_ours(target)
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise UsageError(
            f"{target} is there, and is not {kind} of nnunet_ext. Choose another name, or replace it with "
            "--overwrite."
        )


def has_keys(*keys: str) -> IsOurs:
    """A test of whether a file is a JSON object, or a list of objects, with these keys."""

    def holds(path: Path) -> bool:
        content = read_json(path)
        parts = content if isinstance(content, list) else [content]
        return bool(parts) and all(isinstance(part, dict) and part.keys() >= set(keys) for part in parts)

    return holds


def begins_with(text: str) -> IsOurs:
    """A test of whether a file begins with a text."""
    return lambda path: _head(path).startswith(text.encode("utf-8"))


def contains(text: str) -> IsOurs:
    """A test of whether a text is among the first 4096 bytes of a file."""
    return lambda path: text.encode("utf-8") in _head(path)


def is_zip_of(endings: Sequence[str]) -> IsOurs:
    """A test of whether a file is a zip of files with these endings, without folders."""

    def holds(path: Path) -> bool:
        if not path.is_file():
            return False
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, NotImplementedError):
            return False
        return all(name.endswith(tuple(endings)) and "/" not in name for name in names)

    return holds


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def check_apart(output: Path, inputs: Sequence[Path]) -> None:
    """Refuse an output folder that is an input folder, too.

    Raises:
        UsageError: a folder is both.
    """
    for folder in inputs:
        if folder.resolve() == output.resolve():
            raise UsageError(
                f"{folder} is input and output; its files would be lost. Choose another with -o."
            )
