"""Every error raised on purpose. Each message says what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable


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


def joined_faults(head: str, faults: Iterable[str]) -> str:
    """One message of a heading and a list of faults, a line each."""
    return "\n".join([head, *(f"  - {fault}" for fault in faults)])
