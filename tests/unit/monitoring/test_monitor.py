import io
import json
import os
from dataclasses import replace

import pytest
from training_logs import LogWriter, best_stated, epochs, write_fold, write_summary

from nnunet_ext.display.tables import as_text
from nnunet_ext.monitoring.machine import Gpu, MachineLoad
from nnunet_ext.monitoring.monitor import Monitor, course, snapshot_record, sparkline
from nnunet_ext.monitoring.processes import Processes, TrainingCommand, TrainingProcess
from nnunet_ext.monitoring.results import select_runs
from nnunet_ext.monitoring.run import read_runs
from nnunet_ext.monitoring.screen import draw_screen, footer, open_views, plain_table, run_notices

LOG = "training_log_2024_4_21_09_00_00.txt"
NOW = 2_000_000_000.0
NOBODY = Processes("elsewhere")
SOME = best_stated(epochs(6))
STOPPING = "Early stopping: best 0.5 at epoch 5, 0 of 20 epochs without a rise"


def running(tmp_path, seconds_ago=4.0, **options):
    writer = LogWriter().raw("n_epochs = 10 (default) \n").epochs(SOME).line(STOPPING)
    writer.line("WARNING! batch size is 1").start(epochs(7)[6])
    fold = write_fold(tmp_path, {LOG: writer.text}, **options)
    os.utime(fold / LOG, (NOW - seconds_ago,) * 2)
    return fold


def finished(tmp_path):
    fold = write_fold(tmp_path, {LOG: LogWriter().epochs(SOME).end().text}, fold="1")
    write_summary(fold, {"a": {"1": (10, 10, 8), "2": (0, 0, 0)}})


def writer_of(fold):
    training = TrainingCommand(
        dataset="4", configuration="2d", fold="0", trainer="nnUNetTrainer", plans="nnUNetPlans"
    )
    begun = read_runs(fold, NOW, NOBODY)[0].log_begun
    return Processes("here", (TrainingProcess(training, begun - 30, 12),))


def test_a_running_training_tells_where_it_is_and_how_long_it_will_take(tmp_path):
    fold = running(tmp_path)
    (view,) = Monitor(tmp_path).look(NOW, writer_of(fold)).views
    assert (view.run.state, view.epoch, view.run.n_done, view.run.planned) == ("running", 6, 6, 10)
    assert view.epoch_s == 15.5  # median of 13.5 to 17.5
    assert view.eta_s == pytest.approx(4 * 15.5 - 4)
    assert view.trend == pytest.approx(15.5 / 15.0 - 1)
    assert (view.since_best, view.patience_left, view.n_workers) == (0, 20, 12)
    assert view.learning_rate == SOME[-1].learning_rate
    assert [label.name for label in view.labels] == ["Anterior", "Posterior"]
    assert (view.labels[0].last, view.labels[0].best) == (SOME[-1].dice[0], SOME[-1].dice[0])
    assert len(view.labels[1].course) == 5  # the epoch that did not see it is left out


def test_a_run_that_does_not_run_has_no_eta(tmp_path):
    running(tmp_path, 4000.0)
    finished(tmp_path)
    stalled, done = Monitor(tmp_path).look(NOW, NOBODY).views
    assert (stalled.run.state, stalled.eta_s) == ("stalled", None)
    assert (done.run.state, done.eta_s) == ("finished", None)


def test_only_what_was_added_is_read_and_new_folds_are_found(tmp_path):
    fold = running(tmp_path)
    monitor = Monitor(tmp_path)
    assert monitor.look(NOW, NOBODY).views[0].epoch == 6
    size = (fold / LOG).stat().st_size
    rest = LogWriter().epochs(epochs(1, first=6)).start(epochs(8)[7]).text
    (fold / LOG).write_bytes(b"#" * size + rest.encode())  # what was read is read no more
    finished(tmp_path)
    views = monitor.look(NOW, NOBODY).views
    assert [view.epoch for view in views] == [7, 5] and views[0].run.n_done == 7


def test_a_snapshot_has_the_selected_runs_and_tells_that_one_died(tmp_path):
    running(tmp_path, debug={"hostname": "here"})
    monitor = Monitor(tmp_path, lambda runs: select_runs(runs, {"fold": ["0"]}))
    finished(tmp_path)
    snapshot = monitor.look(NOW, Processes("here"))
    assert snapshot.has_died and [view.run.state for view in snapshot.views] == ["died"]
    assert not Monitor(tmp_path).look(NOW, NOBODY).has_died


def test_a_course_is_means_over_parts_of_equal_length():
    assert course([0.0, None, 1.0, 0.5], 3) == (0.0, 1.0, 0.5)
    assert course([0.1, 0.3, 0.5, 0.7], 2) == pytest.approx((0.2, 0.6))
    assert course([None]) == ()
    assert len(course([0.5] * 1000)) == 12


def test_a_sparkline_has_the_lowest_mark_for_0_and_the_highest_for_1():
    assert sparkline([0.0, 1.0, 0.5, 1.2, -1.0], "abc") == "acbca"


@pytest.fixture
def snapshot(tmp_path):
    fold = running(tmp_path)
    finished(tmp_path)
    h200 = Gpu(
        index=0,
        name="NVIDIA H200",
        use_percent=98.0,
        memory_used_bytes=20 << 30,
        memory_total_bytes=139 << 30,
        temperature_c=65.0,
        power_w=512.4,
    )
    gpus = (h200, Gpu(index=1, name="NVIDIA T4"))
    load = MachineLoad(gpus, 10 << 30, 128 << 30, 50 << 30)
    return replace(Monitor(tmp_path).look(NOW, writer_of(fold)), load=load)


def test_the_plain_table_has_the_open_runs_with_a_row_a_label(snapshot):
    table = plain_table(snapshot)
    assert len(table.rows) == 2
    assert table.rows[0][1:7] == ("running", "6 of 10", "58 s", "15.5", "0.0059", "0, 20 left")
    assert table.rows[1][:7] == ("",) * 7 and table.rows[1][7].startswith("Posterior 0.650 ")
    assert as_text(table).isascii()


def test_the_footer_counts_finished_runs_and_describes_the_machine(snapshot, tmp_path):
    assert len(open_views(snapshot)) == 1
    assert footer(snapshot, tmp_path) == [
        "1 finished",
        "GPU 0 NVIDIA H200: 98 %, 20.0 of 139.0 GiB, 65 C, 512 W",
        "GPU 1 NVIDIA T4: reports nothing",
        f"RAM 10.0 of 128.0 GiB, 50 GiB left on the disk of {tmp_path}",
    ]
    assert any("WARNING! batch size is 1" in line for line in run_notices(snapshot))
    assert any("12 worker processes" in line for line in run_notices(snapshot))


@pytest.mark.parametrize(("encoding", "is_drawn"), [("utf-8", True), ("cp1252", False), (None, False)])
def test_a_terminal_gets_marks_that_it_can_show(snapshot, tmp_path, encoding, is_drawn):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    console.print(draw_screen(snapshot, tmp_path, encoding))
    text = console.file.getvalue()
    assert "running" in text and "6 of 10" in text and "NVIDIA H200" in text
    assert any(mark in text for mark in "▃▄▅") == is_drawn


@pytest.mark.parametrize("width", [80, 119, 120])
def test_no_line_of_the_screen_breaks_a_name_in_its_middle(snapshot, tmp_path, width):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(draw_screen(snapshot, tmp_path, "utf-8", width))
    text = console.file.getvalue()
    words = ("Dataset004_Hippocampus", "nnUNetTrainer", "running", "6 of 10", "Anterior", "Posterior")
    assert all(word in text for word in words)
    assert max(map(len, text.splitlines())) <= width


def test_a_sentence_stands_in_place_of_an_empty_table(tmp_path):
    from rich.console import Console

    finished(tmp_path)
    over = Monitor(tmp_path).look(NOW, NOBODY)
    console = Console(file=io.StringIO(), width=120)
    console.print(draw_screen(over, tmp_path, "utf-8"))
    first, second, *_ = console.file.getvalue().splitlines()
    assert (first, second) == (
        "No training is running, interrupted or broken off.",
        "1 finished",
    )


def test_a_snapshot_is_strict_json(snapshot):
    record = snapshot_record(snapshot)
    assert json.loads(json.dumps(record, allow_nan=False)) == json.loads(json.dumps(record))
    assert record["runs"][0]["labels"]["Anterior"]["last"] == SOME[-1].dice[0]
    assert record["machine"]["gpus"][1]["use_percent"] is None
