"""The help text of a verb imports no heavy package."""

import subprocess
import sys

import pytest

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
