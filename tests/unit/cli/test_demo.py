from pathlib import Path

import pytest

from nnunet_ext.cli.main import main
from nnunet_ext.demo import pipeline
from nnunet_ext.demo.pipeline import DemoReport
from nnunet_ext.metrics.dice import DiceSummary

DICE = {"ensemble": {"myocardium": DiceSummary(0.8125, 4, 4, 0)}}


@pytest.fixture
def asked(monkeypatch):
    """What the command line asks of the demo, which is not run."""
    found = []

    def pretend(root, training, progress):
        found.append((root, training))
        return DemoReport(
            dice=DICE,
            zip_path=root / "submission.zip",
            picture=root / "overlays.png",
            reused=(),
            elapsed_s=90.0,
        )

    monkeypatch.setattr(pipeline, "run_demo", pretend)
    return found


def test_the_end_tells_dice_zip_picture_and_time(asked, capsys):
    assert main(["demo", "-o", "here"]) == 0
    printed = capsys.readouterr().out
    for text in ("0.812", str(Path("here/submission.zip")), str(Path("here/overlays.png")), "1 min 30 s"):
        assert text in printed


def test_options_reach_the_training(asked):
    main(["demo", "-device", "cpu", "-epochs", "2", "-iterations", "3"])
    main(["demo"])
    (root, training), (_, default) = asked
    assert root == Path("nnunet_ext_demo")
    assert (training.device, training.n_epochs, training.n_iterations) == ("cpu", 2, 3)
    assert default.device is None


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_no_epochs_are_wrong_usage(asked, count):
    with pytest.raises(SystemExit) as caught:
        main(["demo", "-epochs", count])
    assert caught.value.code == 2
