"""Facts of the files of a data set: what a worker reads from each, and why a file cannot be read now."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from nnunet_ext.check.arrays import read_b2nd, read_npy, read_npz
from nnunet_ext.errors import LONGEST_ON_WINDOWS, CannotReadNow, DamagedFile, ProbabilitiesError
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.whole import CHUNK_BYTES
from nnunet_ext.images.content import Content
from nnunet_ext.images.facts import ImageFacts, read_image_facts
from nnunet_ext.nnunet.checkpoint import CheckpointFacts, read_checkpoint_facts
from nnunet_ext.nnunet.properties import read_properties

ADVICE = {
    errno.EACCES: "Give yourself the right to read it, or close the program that holds it",
    errno.EPERM: "Give yourself the right to read it",
    errno.ENOENT: "Mount its disk, or bring it back",
    errno.ENOTDIR: "Mount its disk, or bring it back",
    errno.EIO: "Look at the disk, and bring the file back from a copy",
    errno.ENAMETOOLONG: "Move the data set to a shorter path",
    errno.ELOOP: "Mend the link",
    errno.EMFILE: "Allow more open files (ulimit -n), or use fewer processes (-np)",
    errno.ENFILE: "Close other programs, which hold too many files open",
    errno.ENOMEM: "Use fewer processes (-np), or none (-np 0)",
}
OTHER_ADVICE = "See what the system says"
AGAIN = "and check again; no repair touches it until it is read."


@dataclass(frozen=True)
class Refusal:
    """Why a file could not be read now, which does not show that its bytes are damaged.

    Attributes:
        reason: the reason that the system or the reader gave.
        advice: what to do.
    """

    reason: str
    advice: str

    @classmethod
    def of_changing_file(cls) -> Refusal:
        """The refusal of a file that another program writes meanwhile."""
        return cls("it changed while it was read", f"Wait until it is written, {AGAIN}")

    @classmethod
    def of_reader(cls, reason: str) -> Refusal:
        """The refusal of a reader that died, or failed for a reason of its own."""
        return cls(f"its reader failed: {reason}", f"Use fewer processes (-np), or none (-np 0), {AGAIN}")


def refusal_of(error: OSError | MemoryError) -> Refusal:
    """The refusal for an error of the system."""
    if isinstance(error, MemoryError):
        reason = "there is too little memory to read it, or damaged bytes of it ask for too much"
        return Refusal(reason, f"{ADVICE[errno.ENOMEM]}, {AGAIN}")
    if isinstance(error, CannotReadNow):
        return Refusal(str(error), f"{error.advice}, {AGAIN}")
    is_long = sys.platform == "win32" and len(str(error.filename or "")) >= LONGEST_ON_WINDOWS
    number = errno.ENAMETOOLONG if is_long else error.errno or 0
    reason = error.strerror or str(error) or type(error).__name__
    return Refusal(f"it cannot be read now: {reason}", f"{ADVICE.get(number, OTHER_ADVICE)}, {AGAIN}")


def read_through(path: Path, n_bytes: int | None = None) -> os.stat_result:
    """Read all bytes of a file, or the first ones, to find out whether the system lets them be read.

    Raises:
        OSError: it does not, or the path is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise CannotReadNow("it is no regular file", "Put the file in its place")
    with path.open("rb", buffering=0) as file:
        if n_bytes is None:
            while file.read(CHUNK_BYTES):
                pass
        else:
            file.read(n_bytes)
        return os.fstat(file.fileno())


Role = Literal["image", "label", "array", "properties", "checkpoint", "json"]


@dataclass(frozen=True)
class FileJob:
    """A file to read, and its role, which decides how it is read."""

    path: Path
    role: Role


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Facts of a file; of the last four only the one of the file's role is filled.

    Attributes:
        path: the file.
        n_bytes: size on disk.
        modified_ns: time of the last change.
        fault: what is wrong with its bytes, all of which were read; None where nothing is.
        refusal: why the file could not be read now; None where it could.
        image: voxels and grid of an image or label.
        arrays: arrays by name; a file of one array has the name "".
        keys: keys of properties or of a JSON object.
        checkpoint: entries and faults of a checkpoint.
    """

    path: Path
    n_bytes: int
    modified_ns: int
    fault: str | None = None
    refusal: Refusal | None = None
    image: ImageFacts | None = None
    arrays: Mapping[str, Content] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    checkpoint: CheckpointFacts | None = None

    @property
    def is_read(self) -> bool:
        """Whether all bytes of the file were read and no fault was found."""
        return self.fault is None and self.refusal is None


def read_facts(job: FileJob) -> FileFacts:
    """Read every byte of a file.

    Returns:
        The facts of the file, with its fault or with the reason why it cannot be read now. A file has a
        fault only if it was read to its last byte and did not change meanwhile.
    """
    try:
        before = read_through(job.path, n_bytes=1)
    except OSError as error:
        return FileFacts(path=job.path, n_bytes=0, modified_ns=0, refusal=_refusal(error, job.path))
    known = {"path": job.path, "n_bytes": before.st_size, "modified_ns": before.st_mtime_ns}
    try:
        try:
            found = _read(job)
        except (DamagedFile, ProbabilitiesError) as error:
            found = {"fault": _without_path(str(error), job.path)}
        after = read_through(job.path) if "fault" in found else job.path.stat()
    except (OSError, MemoryError) as error:
        return FileFacts(**known, refusal=_refusal(error, job.path))  # type: ignore[arg-type]
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        return FileFacts(**known, refusal=Refusal.of_changing_file())  # type: ignore[arg-type]
    return FileFacts(**known, **found)  # type: ignore[arg-type]


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
        content = read_json(path)
    except ValueError as error:
        size = path.stat().st_size
        raise DamagedFile(f"{path} ({size} bytes) cannot be read as JSON: {error}.") from error
    return tuple(map(str, content)) if isinstance(content, dict) else ()


def _refusal(error: OSError | MemoryError, path: Path) -> Refusal:
    refusal = refusal_of(error)
    return replace(refusal, reason=_without_path(refusal.reason, path))


def _without_path(message: str, path: Path) -> str:
    """A message without the path, for a table that names the file beside it."""
    return message.replace(f"{path}: ", "").replace(f"{path} ", "").strip()
