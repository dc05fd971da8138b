"""Why a file cannot be read now, which tells nothing of its bytes, and what to do about it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import LONGEST_ON_WINDOWS, CannotReadNow
from nnunet_ext.files import CHUNK_BYTES

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
OTHERWISE = "See what the system says"
AGAIN = "and check again; no repair touches it until it is read."


@dataclass(frozen=True)
class Refusal:
    """Why a file could not be read.

    Attributes:
        reason: what the system, or the reader, said.
        advice: what to do.
    """

    reason: str
    advice: str

    @classmethod
    def of_changing_file(cls) -> Refusal:
        """That of a file which another program writes."""
        return cls("it changed while it was read", f"Wait until it is written, {AGAIN}")

    @classmethod
    def of_reader(cls, reason: str) -> Refusal:
        """That of a reader that died, or failed in a way that tells nothing of the file."""
        return cls(f"its reader failed: {reason}", f"Use fewer processes (-np), or none (-np 0), {AGAIN}")


def refusal_of(error: OSError | MemoryError) -> Refusal:
    """What an error of the system means for the file that was read."""
    if isinstance(error, MemoryError):
        reason = "there is too little memory to read it, or damaged bytes of it ask for too much"
        return Refusal(reason, f"{ADVICE[errno.ENOMEM]}, {AGAIN}")
    if isinstance(error, CannotReadNow):
        return Refusal(str(error), f"{error.advice}, {AGAIN}")
    is_long = sys.platform == "win32" and len(str(error.filename or "")) >= LONGEST_ON_WINDOWS
    number = errno.ENAMETOOLONG if is_long else error.errno or 0
    reason = error.strerror or str(error) or type(error).__name__
    return Refusal(f"it cannot be read now: {reason}", f"{ADVICE.get(number, OTHERWISE)}, {AGAIN}")


def read_through(path: Path, n_bytes: int | None = None) -> os.stat_result:
    """Read a file's bytes, all or the first ones, to see whether the system gives them.

    Raises:
        OSError: it does not, or it is no file.
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
