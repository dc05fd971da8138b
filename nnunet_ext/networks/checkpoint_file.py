"""Reading and writing of checkpoint files; a file is written whole or not at all."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.errors import NnunetExtError
from nnunet_ext.files.whole import kept_beside, move, not_written_whole, written_whole

TORCH_WRITER = "inline_container"  # source file that torch names in its errors of writing
KEY = "nnunet_ext"  # key of this package's record in a checkpoint


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; an older file of this name stays good if the process is killed meanwhile.

    Raises:
        OSError: the file cannot be written, as on a full disk.
        NotReplaced: another program holds the older file open. The new checkpoint is kept beside it until
            `replace_by_kept` renames it or a later checkpoint is written.
    """
    with written_whole(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch's error on a full disk, which does not say so
            if TORCH_WRITER not in str(error):
                raise
            raise not_written_whole(path, str(error).splitlines()[0]) from error
    with suppress(OSError):
        kept_beside(path).unlink(missing_ok=True)  # an earlier checkpoint that could not be renamed


def replace_by_kept(path: Path) -> None:
    """Rename a newer checkpoint kept beside this one to this name, if this one is no longer held open."""
    kept = kept_beside(path)
    if kept.is_file():
        with suppress(PermissionError):
            move(kept, path)


def read_checkpoint(path: Path, device: Any = "cpu", *, mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint of this package or of nnU-Net.

    Args:
        path: the file. As in nnU-Net, it must come from a trusted source: pickle can run code.
        device: device on which its tensors are put.
        mapped: leave the tensors on disk until they are used, which makes reading the rest quick.

    Raises:
        NnunetExtError: the file is missing or damaged.
    """
    try:
        content = torch.load(str(path), map_location=device, weights_only=False, mmap=mapped or None)
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        is_empty = path.is_file() and path.stat().st_size == 0
        reason = "it is empty (0 bytes)" if is_empty else error
        raise NnunetExtError(
            f"{path} cannot be read as a checkpoint: {reason}. Move it away to go on without it, "
            "or choose another."
        ) from error
    return dict(content)
