"""Quick things stay quick: help texts and names for notebooks import nothing heavy before they need it."""

import subprocess
import sys

import pytest

import nnunet_ext
from nnunet_ext.cli.main import VERBS

TORCH_SIDE = {"torch", "nnunetv2", "timm", "dynamic_network_architectures"}
HEAVY = {*TORCH_SIDE, "SimpleITK", "matplotlib", "pydantic"}
# Its options are the settings' fields.
NEEDED_FOR_HELP = {"train": {"pydantic"}, "benchmark": {"pydantic"}}
WITHOUT_NUMPY = {"results", "monitor"}


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_heavy(verb):
    heavy = HEAVY - NEEDED_FOR_HELP.get(verb, set()) | ({"numpy"} if verb in WITHOUT_NUMPY else set())
    code = (
        "import sys; from nnunet_ext.cli.main import main\n"
        "try: main([sys.argv[1], '--help'])\n"
        "except SystemExit: pass\n"
        f"heavy = {heavy!r} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout


def test_the_names_for_notebooks_are_loaded_when_they_are_asked_for():
    for name in nnunet_ext.__all__:
        assert getattr(nnunet_ext, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        nnunet_ext.no_such_name  # noqa: B018
