import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from training_logs import (
    TRACEBACK,
    VERSION_1,
    LogWriter,
    best_stated,
    epochs,
    write_checkpoint,
    write_fold,
    write_history_csv,
    write_summary,
)

from nnunet_ext.monitoring.processes import OtherProcess, Processes
from nnunet_ext.monitoring.run import RunReader, read_runs
from nnunet_ext.nnunet.model_folder import find_folds

FIRST, SECOND = "training_log_2024_4_21_09_00_00.txt", "training_log_2024_4_21_11_00_00.txt"
NOBODY = Processes("elsewhere")
NOW = 2_000_000_000.0
SOME = tuple(best_stated(epochs(5)))
SUMMARY = {"a": {"1": (10, 10, 8), "2": (0, 0, 0)}}


def touch(folder, seconds_ago):
    for path in folder.rglob("*"):
        os.utime(path, (NOW - seconds_ago,) * 2)


def look(folder, seconds_ago=5.0, processes=NOBODY):
    touch(folder, seconds_ago)
    return read_runs(folder, NOW, processes)[0]


def test_logs_of_one_fold_are_one_run_with_label_names(tmp_path):
    first, second = (
        LogWriter().epochs(epochs(5)).text,
        LogWriter().epochs(epochs(3, first=3, shift=0.01)).text,
    )
    run = look(write_fold(tmp_path, {SECOND: second, FIRST: first}))
    assert run.history.epochs == (*epochs(3), *epochs(3, first=3, shift=0.01))
    assert run.history.labels == ("Anterior", "Posterior")
    assert (run.state, run.n_done, run.planned) == ("running", 6, 1000)


def test_a_finished_run_has_its_validation_by_label(tmp_path):
    fold = write_fold(tmp_path, {FIRST: LogWriter().epochs(SOME).end().text})
    write_summary(fold, SUMMARY)
    run = look(fold)
    assert run.state == "finished" and not run.notes
    assert run.validation.labels["Anterior"].mean == pytest.approx(0.8)


def test_a_summary_older_than_the_newest_log_is_no_validation_of_it(tmp_path):
    fold = write_fold(tmp_path, {FIRST: LogWriter().epochs(SOME).end(validated=None).text})
    path = write_summary(fold, SUMMARY)
    assert look(fold, 10).state == "finished"  # by a validation whose log is gone
    os.utime(path, (1000.0, 1000.0))
    run = read_runs(fold, NOW, NOBODY)[0]
    assert run.state == "running" and run.standing.reason.startswith("validation")


@pytest.mark.parametrize("where", ["the log", "a console's capture beside it"])
def test_a_dead_run_says_its_last_epoch_and_its_last_words(tmp_path, where):
    text = LogWriter().epochs(SOME).text
    logs = {FIRST: text + TRACEBACK} if where == "the log" else {FIRST: text, "train.out": text + TRACEBACK}
    run = look(write_fold(tmp_path, logs), 300)
    assert run.state == "died"
    assert run.standing.reason.startswith("after epoch 4: torch.OutOfMemoryError")


def test_the_error_of_an_earlier_attempt_is_not_that_of_the_newest(tmp_path):
    fold = write_fold(tmp_path, {FIRST: LogWriter().epochs(SOME).text, "train.out": TRACEBACK})
    os.utime(fold / FIRST, (NOW - 5,) * 2)
    os.utime(fold / "train.out", (1_600_000_000.0,) * 2)
    assert read_runs(fold, NOW, NOBODY)[0].state == "running"


def test_captured_console_output_replaces_a_lost_log(tmp_path):
    run = look(write_fold(tmp_path, {"nohup.out": LogWriter().epochs(SOME).text}))
    assert run.history.epochs == SOME and run.state == "running"


def test_silence_of_three_epochs_is_a_stall_and_a_process_that_is_gone_a_death(tmp_path):
    fold = write_fold(
        tmp_path, {FIRST: LogWriter().epochs(SOME).text}, debug={"hostname": "here", "num_epochs": "7"}
    )
    assert look(fold, 50).state == "running"
    assert look(fold, 70).state == "stalled"  # epochs of 15 s: no less than a minute
    run = look(fold, 5, Processes("here"))
    assert (run.state, run.planned) == ("died", 7)
    assert look(fold, 5, NOBODY).state == "running"


def test_a_table_and_a_log_that_agree_give_the_exact_values(tmp_path):
    exact = [replace(one, train_loss=one.train_loss + 1e-5, average=0.5) for one in epochs(5)]
    fold = write_fold(tmp_path, {FIRST: LogWriter().epochs(SOME).text})
    write_history_csv(fold / "history.csv", exact, ("Anterior", "Posterior"))
    run = look(fold)
    assert run.history.epochs == tuple(exact) and not run.notes


def test_where_table_and_log_differ_the_log_is_used_with_a_note(tmp_path):
    fold = write_fold(tmp_path, {FIRST: LogWriter().epochs(SOME[:3]).text})
    write_history_csv(fold / "history.csv", epochs(9, shift=0.2), ("Anterior", "Posterior"))
    run = look(fold)
    assert run.history.epochs == SOME[:3]
    assert "epoch 0: train_loss 0.9 and 1.1" in run.notes[0]


def checkpoint(fold, some, name="checkpoint_latest.pth"):
    logging = {
        "train_losses": [one.train_loss for one in some],
        "val_losses": [one.val_loss for one in some],
        "dice_per_class_or_region": [[float("nan") if d is None else d for d in one.dice] for one in some],
        "lrs": [one.learning_rate for one in some],
    }
    write_checkpoint(fold / name, {"logging": logging, "current_epoch": len(some)})


def without_time(some):
    return tuple(replace(one, seconds=None, average=None) for one in some)


def test_epochs_whose_log_is_lost_come_from_a_checkpoint(tmp_path):
    fold = write_fold(tmp_path, {SECOND: LogWriter().epochs(epochs(3, first=4)).text})
    checkpoint(fold, epochs(2), "checkpoint_best.pth")
    checkpoint(fold, epochs(5))
    (fold / "checkpoint_final.pth").write_bytes(b"damaged")
    run = look(fold)
    assert run.history.epochs[:4] == without_time(epochs(4))
    assert [one.number for one in run.history.epochs] == list(range(7))
    assert "checkpoint_final.pth cannot be read" in run.notes[0]


def test_a_model_that_came_without_logs_is_known_by_its_checkpoint(tmp_path):
    fold = write_fold(tmp_path, {})
    checkpoint(fold, epochs(3), "checkpoint_final.pth")
    run = look(fold)
    assert (run.n_done, run.state) == (3, "validation missing")


def test_a_log_of_version_1_and_an_empty_fold_give_notes(tmp_path):
    run = look(write_fold(tmp_path, {FIRST: VERSION_1}))
    assert "nnU-Net v1" in run.notes[0] and run.n_done == 0
    assert look(write_fold(tmp_path, {}, fold="1")).standing.reason == "there is no log"


def test_labels_that_do_not_fit_the_data_set_are_numbered_with_a_note(tmp_path):
    run = look(write_fold(tmp_path, {FIRST: LogWriter().epochs(epochs(2, n_labels=3)).text}))
    assert run.history.labels == ("1", "2", "3")
    assert "3 Dice an epoch, but dataset.json 2 labels" in run.notes[0]


@pytest.mark.parametrize(("trainer", "planned"), [("nnUNetTrainer_250epochs", 250), ("MyTrainer", None)])
def test_the_length_may_stand_in_the_trainers_name(tmp_path, trainer, planned):
    assert look(write_fold(tmp_path, {FIRST: ""}, trainer=trainer)).planned == planned


def test_a_log_that_cannot_be_opened_gives_a_note(tmp_path, monkeypatch):
    fold = write_fold(tmp_path, {FIRST: LogWriter().epochs(SOME).text, SECOND: ""})
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path.name == SECOND:
            raise PermissionError("denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    run = look(fold)
    assert run.history.epochs == SOME and run.notes == (f"{SECOND} cannot be read: denied",)


def test_junk_beside_the_data_raises_nothing(tmp_path):
    fold = write_fold(tmp_path, {FIRST: LogWriter().epochs(SOME).text, "debug.json": "{", "history.csv": "x"})
    (fold.parent / "dataset.json").write_text("no json")
    (fold / "validation").mkdir()
    (fold / "validation" / "summary.json").write_text("[")
    run = look(fold)
    assert run.history.epochs == SOME and run.history.labels == ("1", "2")
    assert len(run.notes) == 3
    for name in ("dataset.json", "history.csv", "summary.json"):
        assert any(name in note for note in run.notes)


def test_a_second_look_reads_only_what_was_added(tmp_path):
    whole = LogWriter().epochs(SOME).text.encode()
    fold = write_fold(tmp_path, {FIRST: ""})
    reader = RunReader(find_folds(tmp_path)[0])
    for cut in range(0, len(whole), 97):
        (fold / FIRST).write_bytes(b"x" * cut + whole[cut : cut + 97])  # what was read before is gone
        run = reader.look(NOW, NOBODY)
    assert run.history.epochs == SOME


def test_a_new_log_goes_on_and_a_shortened_one_begins_anew(tmp_path):
    fold = write_fold(tmp_path, {FIRST: LogWriter().epochs(epochs(4)).text})
    reader = RunReader(find_folds(tmp_path)[0])
    assert reader.look(NOW, NOBODY).n_done == 4
    (fold / SECOND).write_text(LogWriter().epochs(epochs(3, first=3)).text, encoding="utf-8")
    assert reader.look(NOW, NOBODY).n_done == 6
    (fold / SECOND).write_text(LogWriter().epochs(epochs(1, first=3)).text, encoding="utf-8")
    assert reader.look(NOW, NOBODY).n_done == 4
    (fold / SECOND).unlink()
    assert reader.look(NOW, NOBODY).history.epochs == tuple(epochs(4))


def recorded(fold, log=FIRST, host="here", pid=41):
    content = {"pid": pid, "began": 500.0, "host": host, "log": log}
    (fold / "process.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("log", "state"),
    [
        (LogWriter().text, "died"),
        (LogWriter().epochs(SOME).text, "died"),
        (LogWriter().epochs(SOME).end(validated=None).text, "validation missing"),
    ],
    ids=["at its start", "between epochs", "in its validation"],
)
def test_a_run_whose_recorded_process_is_gone_is_dead_at_once(tmp_path, log, state):
    fold = write_fold(tmp_path, {FIRST: log})
    likely = (OtherProcess(0.0),)  # a notebook, which may be the training of a run without a record
    assert look(fold, 1.0, Processes("here", (), likely)).state == "running"
    recorded(fold)
    assert look(fold, 1.0, Processes("here", (), likely)).state == state
    assert look(fold, 1.0, Processes("here", (), likely, {41: 500.0})).state == "running"
    elsewhere = look(fold, 1.0, Processes("there", (), likely))
    assert elsewhere.state == "running" and "on here, whose processes cannot" in elsewhere.standing.reason


def test_the_process_record_of_an_earlier_start_is_ignored(tmp_path):
    fold = write_fold(tmp_path, {FIRST: LogWriter().text, SECOND: LogWriter().text})
    recorded(fold, FIRST)
    assert look(fold, 1.0, Processes("here", (), (OtherProcess(0.0),))).state == "running"
