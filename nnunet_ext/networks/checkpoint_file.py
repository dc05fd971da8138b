"""Checkpoint files of nnU-Net and ours: read whole, and written whole or not at all."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.errors import NnunetExtError
from nnunet_ext.files.whole import kept_beside, move, not_written_whole, written_whole

TORCH_WRITER = "inline_container"  # the source file of torch that its errors in writing name
KEY = "nnunet_ext"  # of what this package records, in plain values


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; an older good one survives a process that is killed meanwhile.

    Raises:
        OSError: the disk does not take it; of a full one torch raises a RuntimeError that does not say so.
        NotReplaced: another program holds the older one open; this one is kept beside it, until
            `replace_by_kept` gives it its name or a later one is written.
    """
    with written_whole(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:
            if TORCH_WRITER not in str(error):
                raise
            raise not_written_whole(path, str(error).splitlines()[0]) from error
    with suppress(OSError):
        kept_beside(path).unlink(missing_ok=True)  # older than what was just written


def replace_by_kept(path: Path) -> None:
    """Give a newer checkpoint that had to be kept beside this one its name, where that can be done now."""
    kept = kept_beside(path)
    if kept.is_file():
        with suppress(PermissionError):
            move(kept, path)


def read_checkpoint(path: Path, device: Any = "cpu", *, mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint of ours or of nnU-Net.

    Args:
        path: the file. As for nnU-Net, it must come from somebody trusted: pickle can run code.
        device: where its tensors go.
        mapped: leave the tensors on disk until they are used, to read the rest quickly.

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
