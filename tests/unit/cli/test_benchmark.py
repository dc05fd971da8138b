"""`nnunet_ext benchmark`: what it refuses before anything is imported, and what it prints."""

import pytest

from nnunet_ext.cli import benchmark
from nnunet_ext.cli.main import main
from nnunet_ext.trainers import run as trainings
from nnunet_ext.trainers.benchmark import run as room
from nnunet_ext.trainers.benchmark.speed import Operator, Speed
from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.variables import PREFIX

WHAT = ("-d", "1", "-c", "2d")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ExtSettings.model_fields:
        monkeypatch.delenv(PREFIX + name, raising=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "-d, -c must be given"),
        (("-d", "1"), "-c must be given"),
        ((*WHAT, "-f", "x"), "Fold 'x' is neither a number nor all"),
        ((*WHAT, "-tr", "nnUNetTrainerExt_epp3"), "'epp3' is no code of a setting"),
        ((*WHAT, "-optimizer", "adamww"), "allowed is one of sgd, "),
        (
            (*WHAT, "-tr", "nnUNetTrainer", "-optimizer", "adam"),
            "Trainer nnUNetTrainer is none of ours and reads no settings: leave out -optimizer",
        ),
        ((*WHAT, "-device", "cpu", "-num_gpus", "2"), "-num_gpus is 2, but the device is cpu"),
    ],
)
def test_what_cannot_be_measured_is_refused(capsys, options, said):
    assert main(["benchmark", *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many"])
def test_a_number_of_steps_is_whole_and_at_least_1(capsys, number):
    for option in ("-n_warmup", "-n_iterations"):
        with pytest.raises(SystemExit) as exit_:
            main(["benchmark", *WHAT, option, number])
        assert exit_.value.code == 2


def test_options_become_an_order_and_the_figures_are_printed(capsys, monkeypatch, tmp_path):
    asked = []

    def run_benchmark(order):
        asked.append(order)
        operators = (Operator("aten::conv", 0.002, 0.5, 7), Operator("aten::add", 0.001, 0.25, 3))
        return Speed(
            device="cpu", step_s=(0.5,), wait_s=(0.0,), n_samples=2, peak_bytes={}, operators=operators
        )

    monkeypatch.setattr(room, "run_benchmark", run_benchmark)
    monkeypatch.setattr(trainings, "check_training", lambda _: None)
    options = ("-p", "myPlans", "-n_iterations", "7", "-accumulate", "2", "--profile", "-o", str(tmp_path))
    assert main(["benchmark", *WHAT, *options]) == 0
    trace = tmp_path / "trace_nnUNetTrainerExt_myPlans_2d.json"
    assert asked == [
        room.BenchmarkOrder(
            dataset="1",
            configuration="2d",
            plans="myPlans",
            options={"accumulate": "2"},
            n_iterations=7,
            trace=trace,
        )
    ]
    printed = capsys.readouterr().out
    assert "samples per second 4.00" in printed
    assert [line.split() for line in printed.splitlines()[-3:-1]] == [
        ["aten::conv", "2.00", "50.0%", "7"],
        ["aten::add", "1.00", "25.0%", "3"],
    ]
    assert printed.endswith(f"trace: {trace}\n")


def test_the_steps_to_measure_are_no_setting(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "-n_iterations N steps to measure (default: 100)" in text
    assert "-n_iterations VALUE" not in text
    assert benchmark.COUNTED in ExtSettings.model_fields
