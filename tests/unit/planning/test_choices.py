"""Options of `nnunet_ext plan` that are refused before torch is imported."""

import pytest

from nnunet_ext.cli.main import main
from nnunet_ext.planning.choices import PLANNERS


def test_a_wrong_planner_is_answered_with_the_names_there_are(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["plan", "-d", "4", "-pl", "UNetPlusPlaner"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert all(name in told for name in PLANNERS)


@pytest.mark.parametrize(
    "option",
    [
        ("-max_stages", "1"),
        ("-max_stages", "six"),
        ("-gpu_memory_target", "0"),
        ("-gpu_memory_target", "inf"),
        ("-gpu_memory_target", "nan"),
        ("-overwrite_target_spacing", "1", "-1", "1"),
        ("-supervision", "deep"),
    ],
)
def test_a_value_that_cannot_be_is_refused(option, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["plan", "-d", "4", *option])
    assert caught.value.code == 2
    assert option[0] in capsys.readouterr().err
