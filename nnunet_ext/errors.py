"""Every error raised on purpose. Each message says what was wrong, where, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

IS_WINDOWS = os.name == "nt"
LONGEST_ON_WINDOWS = 260
HELD_ON_WINDOWS = (32, 33)  # ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION
CLOSE_IT = "close it in other programs, such as Excel, a viewer or a folder that is synchronised"
FEWER_HANDLES = " (use fewer processes, -np, or raise the limit, ulimit -n)"


class NnunetExtError(Exception):
    """Root of all errors that this package raises on purpose; bad data unless a child says otherwise."""

    exit_code = 1


class UsageError(NnunetExtError):
    """What was asked for cannot be done as asked: a wrong option, plan or setting."""

    exit_code = 2


class SettingsError(UsageError):
    """Settings of a training that are unknown, no number or out of range."""


class PlanError(UsageError):
    """A plan of an ensemble, or its steps of post-processing, that cannot be carried out."""


class DatasetError(NnunetExtError):
    """A dataset.json, fingerprint or plans file that is missing, damaged or not what nnU-Net allows."""


class ProbabilitiesError(NnunetExtError):
    """A file of probabilities that is missing, damaged or holds what no network puts out."""


class GeometryMismatch(NnunetExtError):
    """Two images of one case whose shape, spacing, origin or direction differ."""


class SegmentationError(NnunetExtError):
    """A segmentation that cannot be read or holds values that are no label."""


class DamagedFile(NnunetExtError):
    """A file that is truncated, empty, or not what its name says."""


class RepairError(NnunetExtError):
    """A repair of a data set that may not be begun, or cannot be finished or taken back."""


class SubmissionError(NnunetExtError):
    """A submission that a challenge server would refuse."""


class CannotReadNow(OSError):
    """A file that a library did not read for a reason that tells nothing of its bytes.

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
    """A finished file that could not take the place of an older one, and is kept beside it."""

    def __str__(self) -> str:
        return str(self.strerror)


class RegistrationError(NnunetExtError):
    """The start-up file cannot be written or removed, or this Python does not read it."""


class WorkerDied(NnunetExtError):
    """A worker process that ended before it answered."""


class StepFailed(NnunetExtError):
    """A step of the demo that could not be done."""


def is_of_the_system(error: BaseException) -> bool:
    """Whether an error tells that the system did not do what it was asked, and nothing of a file's bytes.

    Libraries raise `OSError` for damaged bytes too; that of the system has a number.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)


def in_words(error: BaseException) -> str:
    """What the system did not let us do, or a file did not allow, on one line, with what to do about it."""
    if isinstance(error, MemoryError):
        return "MemoryError: there is too little memory; use fewer processes (-np)"
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    told = " and ".join(names) + (": " if names else "")
    advice = FEWER_HANDLES if error.errno in (errno.EMFILE, errno.ENFILE) else _windows_advice(error, names)
    return f"{type(error).__name__}: {told}{error.strerror or error}{advice}"


def _windows_advice(error: OSError, names: Sequence[str]) -> str:
    """What Windows' own words do not tell: that a path is too long, a file held open or read-only."""
    if not IS_WINDOWS or isinstance(error, NotReplaced):
        return ""
    longest = max((len(os.path.abspath(name)) for name in names), default=0)  # noqa: PTH100
    if longest >= LONGEST_ON_WINDOWS and error.errno in (errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG):
        return f" ({too_long(longest)})"
    if getattr(error, "winerror", None) in HELD_ON_WINDOWS:
        return f" ({CLOSE_IT})"
    if error.errno == errno.EACCES and (reason := why_not_written(names)):
        return f" ({reason})"
    return ""


def too_long(n_letters: int) -> str:
    """Why Windows does not find a path of so many letters."""
    return (
        f"the path has {n_letters} letters, and Windows opens {LONGEST_ON_WINDOWS - 1} at most: use shorter "
        "names of folders, or switch on its LongPathsEnabled"
    )


def why_not_written(names: Iterable[str]) -> str:
    """What lets Windows write or remove files that are there; empty where none of them is."""
    there = [name for name in names if os.path.isfile(name)]  # noqa: PTH113
    if any(not os.access(name, os.W_OK) for name in there):
        return "it is read-only: take that away in its properties"
    return CLOSE_IT if there else ""


def joined_faults(head: str, faults: Iterable[str]) -> str:
    """One message of a heading and a list of faults, a line each."""
    return "\n".join([head, *(f"  - {fault}" for fault in faults)])
