"""Hides runs from results, monitor and report: a file with the reason is put into their folder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.whole import write_json
from nnunet_ext.nnunet.model_folder import FoldFolder, find_folds

HIDDEN = "hidden.json"  # in the folder of a fold, or of a model to hide all of its folds


def hidden_for(fold: FoldFolder) -> str | None:
    """The reason for which a run is hidden, by itself or with its whole model; None where it is shown."""
    for folder in (fold.path, fold.path.parent):
        mark = folder / HIDDEN
        if mark.is_file():
            return _reason(mark)
    return None


def _reason(mark: Path) -> str:
    try:
        return str(read_json(mark)["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{mark} cannot be read"


def find_marked(root: Path, names: Sequence[str]) -> list[Path]:
    """Find the folders of folds or models by their names.

    Args:
        root: the folder of results.
        names: folders, or the ends of their paths as tables print them: `fold_0` where it is the only one,
            `TRAINER__PLANS__CONFIGURATION`, `DATASET TRAINER__PLANS__CONFIGURATION/fold_0`.

    Raises:
        UsageError: a name fits no folder, or several.
    """
    folds = find_folds(root)
    folders = sorted({path for fold in folds for path in (fold.path, fold.path.parent)})
    return [_find(name, folders, root) for name in names]


def _find(name: str, folders: Sequence[Path], root: Path) -> Path:
    as_path = Path(name).resolve()
    if as_path in folders:
        return as_path
    wanted = tuple(part for part in name.replace("\\", "/").replace(" ", "/").split("/") if part)
    found = [folder for folder in folders if folder.parts[-len(wanted) :] == wanted] if wanted else []
    if len(found) != 1:
        shown = ", ".join(map(str, found[:5])) + (" …" if len(found) > 5 else "")
        what = f"{len(found)} folders fit: {shown}" if found else f"{root} holds no such fold or model"
        raise UsageError(f"{name!r}: {what}. Name one, as in MODEL/fold_0 or by its path.")
    return found[0]


def hide(folder: Path, reason: str) -> None:
    """Mark a fold or model as hidden; the reason of an older mark is replaced."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    write_json({"reason": reason, "time": now}, folder / HIDDEN)


def unhide(folder: Path) -> None:
    """Remove the mark from a fold or model.

    Raises:
        UsageError: the folder is not marked.
    """
    try:
        (folder / HIDDEN).unlink()
    except FileNotFoundError:
        above = folder.parent / HIDDEN
        hint = f" Its model is: name {folder.parent.name}." if above.is_file() else ""
        raise UsageError(f"{folder} is not hidden.{hint}") from None
