import pytest

from nnunet_ext.monitoring.states import (
    GIVEN_UP_S,
    Evidence,
    Standing,
    duration_words,
    judge_run,
    silence_limit_s,
)

TRAINING = Evidence(last_epoch=11, silent_s=100.0, epoch_s=100.0)
TRAINED = Evidence(last_epoch=11, silent_s=100.0, epoch_s=100.0, is_trained=True, n_predicted=3, n_cases=8)


def signs(base, **more):
    return Evidence(**{**vars(base), **more})


@pytest.mark.parametrize(
    ("given", "state", "reason"),
    [
        (signs(TRAINED, is_validated=True), "finished", ""),
        (signs(TRAINED, is_validated=True, stop_reason="patience: x"), "stopped early", "patience: x"),
        (signs(TRAINED, is_validated=True, silent_s=None), "finished", ""),
        (TRAINED, "running", "validation, case 3 of 8"),
        (signs(TRAINED, life="gone"), "validation missing", "validation, case 3 of 8"),
        (signs(TRAINED, failure="Killed"), "validation missing", "Killed"),
        (signs(TRAINED, silent_s=1900.0), "validation missing", "silent for 32 min"),
        (signs(TRAINED, silent_s=1900.0, life="alive"), "stalled", "in its validation, case 3 of 8"),
        (signs(TRAINED, silent_s=None), "validation missing", ""),
        (TRAINING, "running", ""),
        (signs(TRAINING, interrupted="SIGTERM"), "interrupted", "by SIGTERM after epoch 11; --c continues"),
        (signs(TRAINED, interrupted="SIGUSR1"), "interrupted", "by SIGUSR1 in its validation, case 3 of 8"),
        (signs(TRAINED, interrupted="SIGUSR1", is_validated=True), "finished", ""),
        (signs(TRAINING, silent_s=299.0), "running", ""),
        (signs(TRAINING, silent_s=301.0), "stalled", "silent for 5 min after epoch 11"),
        (signs(TRAINING, silent_s=301.0, life="alive"), "stalled", "after epoch 11"),
        (signs(TRAINING, silent_s=1.0, life="gone"), "died", "after epoch 11: no error was logged"),
        (signs(TRAINING, failure="OSError: full"), "died", "after epoch 11: OSError: full"),
        (signs(TRAINING, silent_s=1.0, failure="OSError: full"), "running", ""),
        (signs(TRAINING, failure="OSError: full", life="alive"), "running", ""),
        (signs(TRAINING, silent_s=GIVEN_UP_S + 1), "died", "silent for 24.0 h"),
        (signs(TRAINING, silent_s=GIVEN_UP_S + 1, life="alive"), "stalled", "silent"),
        (signs(TRAINING, silent_s=GIVEN_UP_S + 1, epoch_s=20000.0), "stalled", "silent"),
        (
            signs(TRAINING, last_epoch=None, epoch_s=None, life="gone"),
            "died",
            "before its first epoch ended",
        ),
        (signs(TRAINING, last_epoch=None, epoch_s=None, silent_s=1700.0), "running", ""),
        (signs(TRAINING, silent_s=299.0, life="missing"), "running", ""),
        (signs(TRAINING, silent_s=301.0, life="missing"), "died", "after epoch 11: no error was logged"),
        (Evidence(), "unknown", "there is no log"),
        (signs(TRAINING, elsewhere="node7"), "running", "its process is on node7, whose processes cannot"),
        (signs(TRAINED, elsewhere="node7"), "running", "case 3 of 8; its process is on node7"),
        (signs(TRAINING, silent_s=301.0, elsewhere="node7"), "stalled", "after epoch 11; its process is on"),
        (signs(TRAINING, elsewhere="node7", life="alive"), "running", ""),
    ],
)
def test_a_run_is_judged_by_its_evidence(given, state, reason):
    standing = judge_run(given)
    assert standing.state == state
    assert reason in standing.reason and bool(reason) == bool(standing.reason)


def test_the_silence_that_is_too_long_follows_the_pace_but_is_a_minute_at_least():
    assert silence_limit_s(Evidence(epoch_s=100.0)) == 300.0
    assert silence_limit_s(Evidence(epoch_s=0.5)) == 60.0
    assert silence_limit_s(Evidence(epoch_s=0.5, is_trained=True)) == silence_limit_s(Evidence()) == 1800.0


def test_a_finished_run_has_no_reason():
    assert Standing("finished").reason == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (720, "12 min"), (19800, "5.5 h"), (3 * 86400, "3 days")]
)
def test_a_duration_is_in_the_unit_that_suits_it(seconds, text):
    assert duration_words(seconds) == text
