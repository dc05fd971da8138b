import pytest

from nnunet_ext.cli.main import main


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "out"],
        ["--auto", "--depth", "1"],
        ["--depth", "one"],
        ["--auto", "-tolerance", "-0.1"],
        ["--auto", "-tolerance", "much"],
        ["--auto", "-tolerance", "nan"],
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path, arguments):
    with pytest.raises(SystemExit) as caught:
        main(["prune", str(tmp_path), *arguments])
    assert caught.value.code == 2
