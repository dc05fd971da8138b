"""The errors that this package raises on purpose, and messages for those of the system.

Each message says what was wrong, with the values seen, where, and what to do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

IS_WINDOWS = os.name == "nt"
LONGEST_ON_WINDOWS = 260
HELD_ON_WINDOWS = (32, 33)  # ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION
CLOSE_ADVICE = "close it in other programs, such as Excel, a viewer or a folder that is synchronised"
HANDLES_ADVICE = " (use fewer processes, -np, or raise the limit, ulimit -n)"


class NnunetExtError(Exception):
    """Base class of all errors that this package raises on purpose.

    Attributes:
        exit_code: exit code of a command that ends with the error: 1 for bad data, 2 for wrong usage.
    """

    exit_code = 1


class UsageError(NnunetExtError):
    """A wrong option, plan, setting or folder: the command cannot be carried out as it was given."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting of a training that is unknown, is no number, or is out of range."""


class PlanError(UsageError):
    """A plan of an ensemble, or a post-processing step of it, that cannot be carried out."""


class DatasetError(NnunetExtError):
    """A dataset.json, fingerprint, plans or splits file that is missing, damaged or not nnU-Net's."""


class ProbabilitiesError(NnunetExtError):
    """A file of probabilities that is missing, damaged, or holds values that are no probabilities."""


class GeometryMismatch(NnunetExtError):
    """Two images of one case that differ in shape, spacing, origin or direction."""


class SegmentationError(NnunetExtError):
    """A segmentation that cannot be read, or holds values that are no labels."""


class DamagedFile(NnunetExtError):
    """A file that is truncated, empty, damaged, or not of the format that its name says."""


class RepairError(NnunetExtError):
    """A repair of a data set that must not begin, or cannot be finished or undone."""


class SubmissionError(NnunetExtError):
    """A submission that a challenge server would refuse."""


class CannotReadNow(OSError):
    """A file that cannot be read now, for a reason that does not show that its bytes are damaged.

    Args:
        message: the reason.
        advice: what to do, without a full stop.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (str(self), self.advice)


class NotReplaced(PermissionError):
    """A finished file that could not replace an older one, and is kept beside it under another name."""

    def __str__(self) -> str:
        return str(self.strerror)


class RegistrationError(NnunetExtError):
    """The start-up file cannot be written or removed, or this Python installation does not run it."""


class WorkerDied(NnunetExtError):
    """A worker process that ended before it returned the result of its job."""


class StepFailed(NnunetExtError):
    """A step of the demo that failed."""


def is_system_error(error: BaseException) -> bool:
    """Whether an error comes from the operating system, and so does not show that a file is damaged.

    Libraries raise `OSError` for damaged bytes, too; an `OSError` of the system has a number.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)


def describe_error(error: BaseException) -> str:
    """An error on one line: its type, the files, the reason, and what to do about it where that is known."""
    if isinstance(error, MemoryError):
        return "MemoryError: there is too little memory; use fewer processes (-np)"
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    told = " and ".join(names) + (": " if names else "")
    advice = HANDLES_ADVICE if error.errno in (errno.EMFILE, errno.ENFILE) else _windows_advice(error, names)
    return f"{type(error).__name__}: {told}{error.strerror or error}{advice}"


def _windows_advice(error: OSError, names: Sequence[str]) -> str:
    """Advice that Windows' own message lacks: the path is too long, or the file is held open or read-only."""
    if not IS_WINDOWS or isinstance(error, NotReplaced):
        return ""
    longest = max((len(os.path.abspath(name)) for name in names), default=0)  # noqa: PTH100
    if longest >= LONGEST_ON_WINDOWS and error.errno in (errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG):
        return f" ({long_path_advice(longest)})"
    if getattr(error, "winerror", None) in HELD_ON_WINDOWS:
        return f" ({CLOSE_ADVICE})"
    if error.errno == errno.EACCES and (reason := write_advice(names)):
        return f" ({reason})"
    return ""


def long_path_advice(n_letters: int) -> str:
    """Why Windows does not open a path of so many letters, and what to do."""
    return (
        f"the path has {n_letters} letters, and Windows opens {LONGEST_ON_WINDOWS - 1} at most: use shorter "
        "names of folders, or switch on its LongPathsEnabled"
    )


def write_advice(names: Iterable[str]) -> str:
    """What to do so that Windows writes or removes existing files; empty where none of them exists."""
    there = [name for name in names if os.path.isfile(name)]  # noqa: PTH113
    if any(not os.access(name, os.W_OK) for name in there):
        return "it is read-only: clear that in its properties"
    return CLOSE_ADVICE if there else ""


def joined_faults(head: str, faults: Iterable[str]) -> str:
    """A message of a heading and a list of faults, one line each."""
    return "\n".join([head, *(f"  - {fault}" for fault in faults)])
