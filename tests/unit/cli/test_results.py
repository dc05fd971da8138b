import json
import os
import subprocess
import sys

import pytest
from training_logs import TRACEBACK, LogWriter, best_stated, epochs, write_fold, write_summary

from nnunet_ext.cli.main import main

LOG = "training_log_2024_4_21_09_00_00.txt"


@pytest.fixture
def results(tmp_path):
    for fold in ("0", "1"):
        folder = write_fold(tmp_path, {LOG: LogWriter().epochs(best_stated(epochs(5))).end().text}, fold=fold)
        write_summary(folder, {"a": {"1": (10, 10, 8), "2": (10, 10, 9)}})
    write_fold(tmp_path, {LOG: LogWriter().epochs(epochs(2)).text, "x.log": TRACEBACK}, fold="2")
    write_fold(tmp_path, {LOG: "train_loss"}, dataset="Dataset012_Liver")
    return tmp_path


def test_all_runs_are_printed_with_reasons(results, capsys, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(results))
    assert main(["results", "-d", "4"]) == 0
    out = capsys.readouterr().out
    assert "nnUNetPlans 2d: Dice in validation" in out and "0.800 (1)" in out
    assert "Liver" not in out
    assert main(["results"]) == 0
    assert "Dataset012_Liver" in capsys.readouterr().out


def test_the_selected_runs_are_written_as_csv_and_json(results, tmp_path, capsys):
    files = ["--csv", str(tmp_path / "out" / "r.csv"), "--json", str(tmp_path / "out" / "r.json")]
    assert main(["results", "-i", str(results), "-d", "4", "-f", "0", "1", "--sort", "dice", *files]) == 0
    assert len((tmp_path / "out" / "r.csv").read_text(encoding="utf-8").splitlines()) == 3
    content = json.loads((tmp_path / "out" / "r.json").read_text(encoding="utf-8"))
    assert [one["fold"] for one in content["runs"]] == ["0", "1"]
    assert content["models"][0]["labels"]["Anterior"]["mean"] == pytest.approx(0.8)
    capsys.readouterr()
    assert main(["results", "-i", str(results), "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 4


def test_the_evolution_is_printed_in_place_of_the_tables(results, capsys):
    assert main(["results", "-i", str(results), "-f", "0", "-d", "4", "--evolution", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("Dataset004_Hippocampus nnUNetTrainer__nnUNetPlans__2d/fold_0")
    assert [line.split()[0] for line in out[2:]] == ["0", "2", "4"] and out[-1].endswith("best")


@pytest.mark.parametrize("options", [["--evolution", "0"], ["--sort", "luck"], ["--state", "dead"]])
def test_wrong_options_are_wrong_usage(results, options):
    with pytest.raises(SystemExit) as stopped:
        main(["results", "-i", str(results), *options])
    assert stopped.value.code == 2


def test_no_runs_are_wrong_usage(results, tmp_path, capsys, monkeypatch):
    assert main(["results", "-i", str(results), "-tr", "Nobody"]) == 2
    assert "holds 4 runs, and none of them fits" in capsys.readouterr().err
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert main(["results"]) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has another error for it")
@pytest.mark.parametrize("n_rows", [1, 2000])
def test_a_reader_that_goes_away_gets_no_traceback(tmp_path, n_rows):
    write_fold(tmp_path, {LOG: LogWriter().epochs(epochs(n_rows)).text})
    command = [sys.executable, "-m", "nnunet_ext", "results", "-i", str(tmp_path), "--evolution", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_neither_torch_nor_matplotlib_is_needed(results):
    code = (
        "import sys; from nnunet_ext.cli.main import main\n"
        f"main(['results', '-i', {str(results)!r}])\n"
        "heavy = {'torch', 'nnunetv2', 'matplotlib', 'SimpleITK', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_is_hidden_with_its_reason_and_shown_again(results, capsys):
    command = ["results", "-i", str(results)]
    run = "Dataset004_Hippocampus nnUNetTrainer__nnUNetPlans__2d/fold_2"
    assert main([*command, "--hide", run]) == 2
    assert "--hide needs a --reason" in capsys.readouterr().err
    assert main([*command, "--hide", run, "--reason", "falscher Datensatz, größer"]) == 0
    assert f"--unhide {run.split()[1]}" in capsys.readouterr().out
    main(["monitor", "--once", "-i", str(results)])
    assert "fold_2" not in capsys.readouterr().out
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "\n1  " in shown.out and "\n2  " not in shown.out
    assert "1 runs are hidden; --show_hidden lists them." in shown.err
    assert main([*command, "--show_hidden"]) == 0
    shown = capsys.readouterr()
    assert "\n2  " in shown.out and f"hidden: {run}: falscher Datensatz, größer" in shown.err
    assert main([*command, "--unhide", run.split()[1]]) == 0
    capsys.readouterr()
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "\n2  " in shown.out and "hidden" not in shown.err
    assert main([*command, "--unhide", run]) == 2
    assert "is not hidden" in capsys.readouterr().err


def test_a_whole_model_is_hidden_by_its_name_or_folder(results, capsys):
    command = ["results", "-i", str(results), "-d", "4"]
    model = results / "Dataset004_Hippocampus" / "nnUNetTrainer__nnUNetPlans__2d"
    assert main([*command, "--hide", str(model), "--reason", "old"]) == 0
    capsys.readouterr()
    assert main(command) == 2
    assert "3 more are hidden: --show_hidden" in capsys.readouterr().err
    assert main([*command, "--unhide", "fold_0"]) == 2
    assert "name nnUNetTrainer__nnUNetPlans__2d" in capsys.readouterr().err
    (model / "hidden.json").write_text("{", encoding="utf-8")
    assert main([*command, "--show_hidden"]) == 0
    assert "hidden.json cannot be read" in capsys.readouterr().err
    assert main([*command, "--unhide", model.name]) == 0


@pytest.mark.parametrize("name", ["fold_7", "", "fold_0"])
def test_a_name_that_means_no_run_or_several_is_wrong_usage(results, name, capsys):
    assert main(["results", "-i", str(results), "--hide", name, "--reason", "x"]) == 2
    said = "2 folders fit" if name == "fold_0" else "holds no such fold or model"
    assert said in capsys.readouterr().err
    assert not list(results.rglob("hidden.json"))
