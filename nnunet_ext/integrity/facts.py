"""What one file of any kind holds, read in a worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nnunet_ext.errors import DamagedFile, ProbabilitiesError
from nnunet_ext.integrity.arrays import read_b2nd, read_npy, read_npz
from nnunet_ext.integrity.checkpoints import CheckpointFacts, read_checkpoint_facts
from nnunet_ext.probabilities.properties import read_properties
from nnunet_ext.voxels.content import Content
from nnunet_ext.voxels.image import ImageFacts, read_image_facts

Role = Literal["image", "label", "array", "properties", "checkpoint", "json"]


@dataclass(frozen=True)
class FileJob:
    """A file to read, and as what."""

    path: Path
    role: Role


@dataclass(frozen=True)
class FileFacts:
    """What a file holds; only the part of its role is filled.

    Attributes:
        n_bytes: on disk.
        modified_ns: when it was last written.
        fault: why it cannot be read wholly; None where it can.
    """

    path: Path
    n_bytes: int
    modified_ns: int
    fault: str | None = None
    image: ImageFacts | None = None
    arrays: Mapping[str, Content] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    checkpoint: CheckpointFacts | None = None


def read_facts(job: FileJob) -> FileFacts:
    """Read every byte of a file.

    Returns:
        What it holds, or why it cannot be read.

    Raises:
        OSError: the system refuses the file.
    """
    status = job.path.stat()
    known = {"path": job.path, "n_bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    try:
        return FileFacts(**known, **_read(job))  # type: ignore[arg-type]
    except (DamagedFile, ProbabilitiesError) as error:
        return FileFacts(**known, fault=_without_path(str(error), job.path))  # type: ignore[arg-type]


def _read(job: FileJob) -> dict[str, object]:
    match job.role:
        case "image" | "label":
            return {"image": read_image_facts(job.path, is_label=job.role == "label")}
        case "array":
            return {"arrays": _read_arrays(job.path)}
        case "properties":
            return {"keys": tuple(map(str, read_properties(job.path)))}
        case "checkpoint":
            return {"checkpoint": read_checkpoint_facts(job.path)}
        case "json":
            return {"keys": _read_keys(job.path)}


def _read_arrays(path: Path) -> Mapping[str, Content]:
    if path.suffix == ".npz":
        return read_npz(path)
    return {"": read_npy(path) if path.suffix == ".npy" else read_b2nd(path)}


def _read_keys(path: Path) -> tuple[str, ...]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        size = path.stat().st_size
        raise DamagedFile(f"{path} ({size} bytes) cannot be read as JSON: {error}.") from error
    return tuple(map(str, content)) if isinstance(content, dict) else ()


def _without_path(message: str, path: Path) -> str:
    """The message for a table that names the file beside it."""
    return message.replace(f"{path}: ", "").replace(f"{path} ", "").strip()
