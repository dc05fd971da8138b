"""The state of a run, judged from its files and the machine's processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnunet_ext.monitoring.processes import Life

State = Literal[
    "running", "finished", "stopped early", "interrupted", "died", "validation missing", "stalled", "unknown"
]
SILENT_EPOCHS = 3
LEAST_SILENCE_S = 60.0
UNKNOWN_EPOCH_S = 600.0  # assumed for the first epoch and for a case of the validation
GIVEN_UP_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The facts from which a run's state is judged.

    Attributes:
        last_epoch: number of the last finished epoch; None before the first.
        is_trained: whether the training ended, early or not.
        is_validated: whether the validation after it ended.
        stop_reason: why the training ended before its last epoch; None where it did not.
        interrupted: the cause of an interruption after which the training can continue; None for none.
        failure: the last error of a training that broke off; None where there is none.
        silent_s: seconds since the log last grew; None where there is no log.
        epoch_s: seconds of an epoch; None before the first.
        life: whether the training's process runs.
        elsewhere: the name of another machine on which the process runs; None for this one.
        n_predicted: number of validation cases whose prediction has begun.
        n_cases: number of validation cases; None where it is not known.
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
    """A run's state and the reason for it; the reason is empty where the state says all."""

    state: State
    reason: str = ""


def judge_run(evidence: Evidence) -> Standing:
    """Judge the state of a run.

    A run is silent when its log has not grown for the time of three epochs, and at least a minute. A silent
    run is stalled while its process runs, and died where its process is missing; a run whose process is
    known to be gone died at once. Where nothing is known of its process, a silent run is stalled for a day
    and counts as dead after it.
    """
    by_files = _judge_by_files(evidence)
    return _judge_by_silence(evidence, evidence.silent_s or 0.0) if by_files is None else by_files


def _judge_by_files(evidence: Evidence) -> Standing | None:
    if evidence.is_trained and evidence.is_validated:
        return (
            Standing("stopped early", evidence.stop_reason) if evidence.stop_reason else Standing("finished")
        )
    if evidence.interrupted is not None:
        return Standing(
            "interrupted", f"by {evidence.interrupted}{_progress_words(evidence)}; --c continues it"
        )
    if evidence.silent_s is None and evidence.life != "alive":
        if evidence.is_trained:
            return Standing("validation missing", evidence.stop_reason or "")
        return Standing("unknown", "there is no log")
    return None


def _judge_by_silence(evidence: Evidence, silent_s: float) -> Standing:
    if _is_over(evidence, silent_s):
        return _ended(evidence, silent_s)
    if silent_s > silence_limit_s(evidence):
        return Standing(
            "stalled",
            f"silent for {duration_words(silent_s)}{_progress_words(evidence)}{_elsewhere_words(evidence)}",
        )
    words = f"{_validation_words(evidence) if evidence.is_trained else ''}{_elsewhere_words(evidence)}"
    return Standing("running", words.removeprefix("; "))


def _elsewhere_words(evidence: Evidence) -> str:
    if evidence.elsewhere is None or evidence.life != "unknown":
        return ""
    return f"; its process is on {evidence.elsewhere}, whose processes cannot be seen from here"


def silence_limit_s(evidence: Evidence) -> float:
    """Seconds of silence after which a run is stalled."""
    epoch_s = UNKNOWN_EPOCH_S if evidence.epoch_s is None else evidence.epoch_s
    if evidence.is_trained:
        epoch_s = max(epoch_s, UNKNOWN_EPOCH_S)
    return max(SILENT_EPOCHS * epoch_s, LEAST_SILENCE_S)


def _is_over(evidence: Evidence, silent_s: float) -> bool:
    if evidence.life in ("alive", "gone"):
        return evidence.life == "gone"
    if silent_s > silence_limit_s(evidence) and (evidence.is_trained or evidence.life == "missing"):
        return True  # a trained model is complete, only its validation is missing
    if evidence.failure is not None:
        return silent_s > LEAST_SILENCE_S
    return silent_s > max(GIVEN_UP_S, 2 * silence_limit_s(evidence))


def _ended(evidence: Evidence, silent_s: float) -> Standing:
    words = evidence.failure or f"no error was logged, silent for {duration_words(silent_s)}"
    if evidence.is_trained:
        return Standing("validation missing", f"it ended{_progress_words(evidence)}: {words}")
    return Standing("died", f"{_progress_words(evidence).strip()}: {words}")


def _progress_words(evidence: Evidence) -> str:
    if evidence.is_trained:
        return f" in its {_validation_words(evidence)}"
    return (
        " before its first epoch ended"
        if evidence.last_epoch is None
        else f" after epoch {evidence.last_epoch}"
    )


def _validation_words(evidence: Evidence) -> str:
    of = "" if evidence.n_cases is None else f" of {evidence.n_cases}"
    return f"validation, case {evidence.n_predicted}{of}"


def duration_words(seconds: float) -> str:
    """A duration in a suitable unit: `40 s`, `12 min`, `5.5 h`, `3 days`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
