"""How a run stands, judged from what its files and the machine say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnunet_ext.monitoring.processes import Life

State = Literal[
    "running", "finished", "stopped early", "interrupted", "died", "validation missing", "stalled", "unknown"
]
SILENT_EPOCHS = 3
LEAST_SILENCE_S = 60.0
UNKNOWN_EPOCH_S = 600.0  # nobody knows how long the first epoch or a case of the validation takes
GIVEN_UP_S = 24 * 3600.0


@dataclass(frozen=True)
class Signs:
    """What is known of a run.

    Attributes:
        last_epoch: number of the last finished epoch, None before the first.
        is_trained: whether its training came to an end, early or not.
        is_validated: whether the validation after it did.
        stop_reason: why it ended before its last epoch; None where it did not.
        interrupted: by what it was, after which it can go on; None where it was not.
        failure: last words of a training that broke off.
        silent_s: seconds since its log last grew; None where there is no log.
        epoch_s: seconds that its epochs take; None before the first.
        life: whether its process runs.
        elsewhere: the other machine that it runs on, where its process cannot be seen; None for this one.
        n_predicted: cases whose validation has begun, of `n_cases`.
        n_cases: cases of the validation, where known.
    """

    last_epoch: int | None = None
    is_trained: bool = False
    is_validated: bool = False
    stop_reason: str | None = None
    interrupted: str | None = None
    failure: str | None = None
    silent_s: float | None = None
    epoch_s: float | None = None
    life: Life = "unknown"
    elsewhere: str | None = None
    n_predicted: int = 0
    n_cases: int | None = None


@dataclass(frozen=True)
class Standing:
    """A run's state, and in some words why; empty where there is nothing to add."""

    state: State
    reason: str = ""


def judge(signs: Signs) -> Standing:
    """Say how a run stands.

    Silence is judged by the run's own pace: three epochs' time, and at least a minute. A silent run whose
    process is there is stalled, and one whose process is missing died; one whose process is surely gone
    died without waiting. Where nobody knows, it is stalled for a day and then taken for dead.
    """
    told = _told_by_its_files(signs)
    return _judged_by_its_silence(signs, signs.silent_s or 0.0) if told is None else told


def _told_by_its_files(signs: Signs) -> Standing | None:
    if signs.is_trained and signs.is_validated:
        return Standing("stopped early", signs.stop_reason) if signs.stop_reason else Standing("finished")
    if signs.interrupted is not None:
        return Standing("interrupted", f"by {signs.interrupted}{_where(signs)}; --c continues it")
    if signs.silent_s is None and signs.life != "alive":
        if signs.is_trained:
            return Standing("validation missing", signs.stop_reason or "")
        return Standing("unknown", "there is no log")
    return None


def _judged_by_its_silence(signs: Signs, silent_s: float) -> Standing:
    if _is_over(signs, silent_s):
        return _ended(signs, silent_s)
    if silent_s > silence_limit_s(signs):
        return Standing("stalled", f"silent for {duration(silent_s)}{_where(signs)}{_unseen(signs)}")
    said = f"{_validating(signs) if signs.is_trained else ''}{_unseen(signs)}"
    return Standing("running", said.removeprefix("; "))


def _unseen(signs: Signs) -> str:
    if signs.elsewhere is None or signs.life != "unknown":
        return ""
    return f"; its process is on {signs.elsewhere}, where it cannot be seen from here"


def silence_limit_s(signs: Signs) -> float:
    """Seconds of silence from which on a run is stalled."""
    epoch_s = UNKNOWN_EPOCH_S if signs.epoch_s is None else signs.epoch_s
    if signs.is_trained:
        epoch_s = max(epoch_s, UNKNOWN_EPOCH_S)
    return max(SILENT_EPOCHS * epoch_s, LEAST_SILENCE_S)


def _is_over(signs: Signs, silent_s: float) -> bool:
    if signs.life in ("alive", "gone"):
        return signs.life == "gone"
    if silent_s > silence_limit_s(signs) and (signs.is_trained or signs.life == "missing"):
        return True  # one that is trained is whole, and what to do is to validate it
    if signs.failure is not None:
        return silent_s > LEAST_SILENCE_S
    return silent_s > max(GIVEN_UP_S, 2 * silence_limit_s(signs))


def _ended(signs: Signs, silent_s: float) -> Standing:
    words = signs.failure or f"no last words, silent for {duration(silent_s)}"
    if signs.is_trained:
        return Standing("validation missing", f"it ended{_where(signs)}: {words}")
    return Standing("died", f"{_where(signs).strip()}: {words}")


def _where(signs: Signs) -> str:
    if signs.is_trained:
        return f" in its {_validating(signs)}"
    return " before its first epoch ended" if signs.last_epoch is None else f" after epoch {signs.last_epoch}"


def _validating(signs: Signs) -> str:
    of = "" if signs.n_cases is None else f" of {signs.n_cases}"
    return f"validation, case {signs.n_predicted}{of}"


def duration(seconds: float) -> str:
    """Some time in the unit that suits it: `40 s`, `12 min`, `5.5 h`, `3 days`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
