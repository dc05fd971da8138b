"""The help text of a verb imports no heavy package."""

import json
import subprocess
import sys

import pytest

from nnunet_ext.cli.verbs import VERBS

TORCH_SIDE = {"torch", "nnunetv2", "timm", "dynamic_network_architectures"}
HEAVY = {*TORCH_SIDE, "SimpleITK", "matplotlib", "pydantic"}
# Its options are the settings' fields.
NEEDED_FOR_HELP = {"train": {"pydantic"}, "benchmark": {"pydantic"}}
WITHOUT_NUMPY = {"results", "monitor"}


# One process shows the help of all verbs, those first that may import least: what a verb imports by itself is
# among what has been imported after it.
SHOW_HELP = """
import contextlib, io, json, sys
from nnunet_ext.cli.main import main
answers = {}
for verb in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        main([verb, "--help"])
    answers[verb] = shown.getvalue(), sorted(sys.modules)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def helps():
    """What each verb's help shows, and the modules that are imported then."""
    verbs = sorted(VERBS, key=lambda verb: (verb in NEEDED_FOR_HELP, verb not in WITHOUT_NUMPY))
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP, json.dumps(verbs)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_heavy(verb, helps):
    heavy = HEAVY - NEEDED_FOR_HELP.get(verb, set()) | ({"numpy"} if verb in WITHOUT_NUMPY else set())
    shown, modules = helps[verb]
    assert "usage: " in shown
    assert not heavy & set(modules)
