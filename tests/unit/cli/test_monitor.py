import io
import json

import pytest
from training_logs import TRACEBACK, LogWriter, epochs, write_fold

from nnunet_ext.cli import monitor
from nnunet_ext.cli.main import main

LOG = "training_log_2024_4_21_09_00_00.txt"


@pytest.fixture
def results(tmp_path):
    write_fold(tmp_path, {LOG: LogWriter().epochs(epochs(3)).text})
    return tmp_path


def kill(results):
    import os

    fold = write_fold(results, {LOG: LogWriter().epochs(epochs(2)).text + TRACEBACK}, fold="1")
    os.utime(fold / LOG, (1_600_000_000.0,) * 2)


def test_once_prints_and_leaves_with_1_where_a_run_died(results, capsys):
    assert main(["monitor", "-i", str(results), "--once"]) == 0
    assert "running" in capsys.readouterr().out
    kill(results)
    assert main(["monitor", "-i", str(results), "--once"]) == 1
    assert "died, after epoch 1: torch.OutOfMemoryError" in capsys.readouterr().out
    assert main(["monitor", "-i", str(results), "--once", "-f", "0"]) == 0


def test_json_is_for_scripts(results, capsys):
    kill(results)
    assert main(["monitor", "-i", str(results), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert [(run["fold"], run["state"]) for run in content["runs"]] == [("0", "running"), ("1", "died")]
    assert content["machine"]["ram_total_bytes"] > 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_live_screen_follows_and_ctrl_c_leaves_it(results, monkeypatch):
    screen, naps = Terminal(), []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 1:
            kill(results)
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr(monitor.time, "sleep", sleep)
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["monitor", "-i", str(results), "--every", "2.5"]) == 1
    assert 2.5 in naps and "died" in screen.getvalue() and "running" in screen.getvalue()


@pytest.mark.parametrize("seconds", ["0", "soon", "nan"])
def test_a_pace_that_is_none_is_wrong_usage(results, seconds):
    with pytest.raises(SystemExit) as stopped:
        main(["monitor", "-i", str(results), "--every", seconds])
    assert stopped.value.code == 2
