import codecs
import re
from dataclasses import replace

import pytest
from training_logs import (
    HEAD,
    PLANS,
    TRACEBACK,
    VERSION_1,
    LogWriter,
    best_stated,
    epochs,
    float32,
    float64,
    plain,
)

from nnunet_ext.nnunet.log_lines import parse_dice
from nnunet_ext.nnunet.training_log import LogParser, parse_log

SOME = tuple(best_stated(epochs(5)))


def text(style=plain, fraction=True):
    return LogWriter(style, fraction).raw(PLANS).epochs(SOME).end().text


CONSOLE_HEAD = (
    "(base) user@host:~$ nnUNetv2_train 4 2d 0\nUsing device: cuda:0\nusing pin_memory on device 0\n"
)
FORMS = {
    "numpy 1": text().encode(),
    "numpy 2, float32": text(float32).encode(),
    "numpy 2, float64": text(float64).encode(),
    "times on a full second": text(fraction=False).encode(),
    "Windows": text().replace("\n", "\r\n").encode(),
    "a console that drops the last space": text().replace(" \n", "\n").encode(),
    "a console's head and end": (CONSOLE_HEAD + text() + "real\t5m3s\nuser@host:~$ ").encode(),
    "PowerShell": codecs.BOM_UTF16_LE + text().replace("\n", "\r\n").encode("utf-16-le"),
    "big-endian": codecs.BOM_UTF16_BE + text().encode("utf-16-be"),
    "an editor's mark": codecs.BOM_UTF8 + text().encode(),
    "colours": text().replace("Epoch", "\x1b[1;32mEpoch\x1b[0m").encode(),
    "bars": text().replace("2024-", "  0%|   | 0/3\r100%|###| 3/3\r2024-").encode(),
    "a rank before each line": text().replace("2024-", "0: 2024-").encode(),
    "docker's time before each line": text().replace("2024-", "2024-04-21T10:00:00.1Z 2024-").encode(),
    "bytes that are no UTF-8": text()
    .replace("Using splits", "Ünïcode \udcff splits")
    .encode("utf-8", "surrogateescape"),
    "lines of a custom trainer": LogWriter()
    .epochs(SOME, ["my_metric 0.3", "Epoch 3: good", "Epoch count 7", "grad 1.5", "train loss is low"])
    .end()
    .text.encode(),
    "losses as numpy 2 shows them": re.sub(r"(_loss) (-?[\d.]+)", r"\1 np.float64(\2)", text()).encode(),
    "numbers in numpy's own list": text().replace(", 0.", " 0.").encode(),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_exact_history(data):
    log = parse_log(data)
    assert log.epochs == SOME
    assert log.is_trained and log.is_validated and log.n_predicted == log.n_validation_cases == 2
    assert not log.notes and log.failure is None


@pytest.mark.parametrize("size", [1, 7, 100, 4096])
@pytest.mark.parametrize("form", ["numpy 2, float32", "PowerShell", "bars", "Windows"])
def test_a_log_read_as_it_grows_is_the_same(form, size):
    parser = LogParser()
    for start in range(0, len(FORMS[form]), size):
        parser.feed(FORMS[form][start : start + size])
    assert parser.log() == parse_log(FORMS[form])


def joined(*texts):
    parser = LogParser()
    for one in texts:
        parser.begin_file()
        parser.feed(one.encode())
    return parser.log()


def test_an_epoch_trained_again_counts_as_it_was_the_second_time():
    first, second = epochs(5), epochs(2, first=3, shift=0.01)
    log = joined(LogWriter().epochs(first).text, LogWriter().epochs(second).text)
    assert log.epochs == (*first[:3], *second)
    assert log.notes == ("epochs 3 to 4 trained again: the later values count",)


def test_what_followed_the_checkpoint_that_was_resumed_is_gone():
    log = joined(LogWriter().epochs(epochs(5)).text, LogWriter().start(epochs(1, first=2)[0]).text)
    assert log.epochs == tuple(epochs(2)) and log.begun == 2


def test_one_capture_of_both_attempts_is_read_like_two_logs():
    first, second = LogWriter().epochs(epochs(3)).text, LogWriter().epochs(epochs(2, first=2)).text
    assert parse_log((first + second).encode()).epochs == joined(first, second).epochs


def test_a_number_cut_in_its_middle_is_no_number_even_with_the_next_log_behind_it():
    cut = LogWriter().epochs(epochs(2)).start(epochs(3)[2]).line("train_loss 0.7512").text
    log = joined(cut[: cut.rindex("512")], LogWriter().epochs(epochs(1, first=2)).text)
    assert log.epochs == tuple(epochs(3))
    assert parse_log(cut[: cut.rindex("512")].encode()).epochs == tuple(epochs(2))


def test_validation_alone_has_no_epochs():
    log = parse_log(LogWriter().end().text.replace("Training done.", "").encode())
    assert log.epochs == () and log.is_trained and log.is_validated


def test_a_validation_of_its_own_keeps_what_was_trained():
    log = joined(LogWriter().epochs(SOME).end().text, LogWriter().end(validated=3).text)
    assert log.epochs == SOME and log.is_validated and log.n_predicted == 3


def test_a_training_that_goes_on_is_no_longer_done():
    log = joined(LogWriter().epochs(SOME).end().text, LogWriter().epochs(epochs(1, first=5)).text)
    assert not log.is_trained and not log.is_validated and log.n_predicted == 0


def test_early_stopping_says_why_and_of_how_many():
    why = "patience: best 0.4000 at epoch 2, 2 of 2 epochs without a rise"
    writer = LogWriter().raw("n_epochs = 40 (environment nnUNet_n_epochs) \npatience = 2 (default) \n")
    writer.epochs(epochs(5)).line("Early stopping: best 0.4000 at epoch 2, 2 of 2 epochs without a rise")
    assert parse_log(writer.text.encode()).planned == 40
    writer.line(f"Training stopped after 5 of 40 epochs by {why}.")
    log = parse_log(writer.text.encode())
    assert (log.stop_reason, log.planned, log.waited) == (why, 40, (2, 2))
    assert log.settings == {"n_epochs": "40", "patience": "2"}


def test_a_stopped_run_that_goes_on_is_not_stopped():
    stopped = LogWriter().epochs(epochs(2)).line("Training stopped after 2 of 9 epochs by patience: x.").text
    on = LogWriter().line("This run was stopped (patience: x); it now goes on: y").epochs(epochs(1, first=2))
    assert joined(stopped, on.text).stop_reason is None


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (("train_loss 0.77", "train_loss zero"), "train_loss of epoch 1 is no number: 'zero'"),
        (("Pseudo dice [0.35, 0.45]", "Pseudo dice [0.35, O.45]"), "Pseudo dice of epoch 1 cannot be read"),
        (("val_loss 0.71", "val_lost 0.71"), "epoch 1 has no val_loss"),
    ],
)
def test_what_is_damaged_is_said_and_the_rest_is_read(damage, note):
    some = epochs(3)
    whole = LogWriter().epochs(some).text
    assert damage[0] in whole
    log = parse_log(whole.replace(*damage).encode())
    assert any(note in one for one in log.notes)
    assert [epoch.number for epoch in log.epochs] == [0, 1, 2]
    field = note.split()[0] if note.startswith("train") else "val_loss" if "val_loss" in note else "dice"
    assert log.epochs[1] == replace(some[1], **{field: () if field == "dice" else None})


def test_a_log_without_its_head_invents_no_epoch():
    whole = LogWriter().epochs(epochs(3)).text
    assert parse_log(whole[whole.index("train_loss") :].encode()).epochs == tuple(epochs(3)[1:])


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_loss_that_is_no_finite_number_is_none(value):
    whole = LogWriter().epochs(epochs(1)).text.replace("train_loss 0.9", f"train_loss {value}")
    assert parse_log(whole.encode()).epochs == (replace(epochs(1)[0], train_loss=None),)


def test_a_log_of_version_1_is_known_as_such():
    assert parse_log(VERSION_1.encode()).is_version_1
    assert not parse_log(text().encode()).is_version_1
    assert parse_log(VERSION_1.encode()).epochs == ()


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"\n", HEAD.encode(), b"\x00\xff\x80" * 50, b"\xef\xbb\xbf"]
)
def test_no_bytes_are_too_odd(data):
    assert parse_log(data).epochs == ()


def test_a_number_with_more_digits_than_python_reads_is_no_epoch():
    long = "9" * 5000
    writer = LogWriter().epochs(epochs(1)).raw(f"n_epochs = {long} (default) \n").line(f"Epoch {long}")
    writer.line(f"This split has {long} training and {long} validation cases.")
    writer.line(f"Early stopping: {long} of {long} epochs without a rise")
    log = parse_log(writer.line(f"Training stopped after {long} of {long} epochs by x.").text.encode())
    assert log.epochs == tuple(epochs(1)) and log.begun is None and log.planned is None


def test_what_a_trainer_logs_of_its_end_are_last_words():
    log = LogWriter().epochs(epochs(2)).text
    stamped = "2026-11-28 01:38:54.000001: Training broke off: OSError: it was not written whole\n"
    assert parse_log((log + stamped).encode()).failure == "OSError: it was not written whole"


def test_the_last_words_are_the_cause_and_not_its_consequence():
    whole = CONSOLE_HEAD + LogWriter().epochs(epochs(2)).text + TRACEBACK
    assert parse_log(whole.encode()).failure == (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB."
    )
    only_consequence = TRACEBACK[: TRACEBACK.index("Traceback", 80)]
    assert "background workers" in parse_log(only_consequence.encode()).failure


def test_an_error_that_was_outlived_killed_nobody():
    whole = LogWriter().epochs(epochs(2)).raw(TRACEBACK).epochs(epochs(3, first=2)).text
    assert parse_log(whole.encode()).failure is None


@pytest.mark.parametrize(
    "words", ["Killed", "slurmstepd: error: Detected 1 oom_kill event", "Segmentation fault (core dumped)"]
)
def test_the_words_of_a_shell_are_last_words(words):
    assert parse_log((LogWriter().epochs(epochs(2)).text + words + "\n").encode()).failure == words


def test_a_warning_is_kept():
    assert parse_log(LogWriter().line("WARNING! batch size is 1").text.encode()).warning == (
        "WARNING! batch size is 1"
    )


def test_dice_of_no_label_is_an_empty_list_and_anything_else_is_refused():
    assert parse_dice("[]") == ()
    assert parse_dice("[tensor(0.5), nan]") == (0.5, None)
    for wrong in ("[0.89", "0.89]", "[a]", ""):
        with pytest.raises(ValueError):
            parse_dice(wrong)


def test_an_interruption_is_told_until_the_next_start():
    said = "Interrupted by the file /runs/a.b/STOP. checkpoint_latest.pth is written; --c goes on from here."
    parser = LogParser()
    parser.feed(LogWriter().epochs(epochs(2)).line(said).text.encode())
    assert parser.log().interrupted == "the file /runs/a.b/STOP"
    parser.begin_file()
    assert parser.log().interrupted is None


def test_the_best_epoch_is_the_one_that_the_training_judges_best():
    said = "Early stopping: best 0.1500 at epoch 3, 1 of 9 epochs without a rise"
    assert parse_log(LogWriter().epochs(epochs(5)).line(said).text.encode()).judged_best == 3
    assert parse_log(LogWriter().epochs(epochs(5)).text.encode()).judged_best is None
