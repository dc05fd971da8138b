"""The public names of `nnunet_ext`, as programs, editors and type checkers see them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nnunet_ext

ROOT = Path(__file__).parents[2]
SCRIPT = """\
from pathlib import Path

import nnunet_ext

plan = nnunet_ext.equal_plan({"2d": [Path("a")], "3d_fullres": [Path("b")]})
reveal_type(plan)
reveal_type(nnunet_ext.run_ensemble(plan, Path("out")))
reveal_type(nnunet_ext.run_check(4).findings[0])
reveal_type(nnunet_ext.run_splits("Dataset004_Liver", dry_run=True).audit)
reveal_type(nnunet_ext.read_runs(dataset=4)[0])
reveal_type(nnunet_ext.find_dataset(4).raw)
"""
TYPES = (
    "nnunet_ext.ensemble.plan.Plan",
    "nnunet_ext.jobs.report.Report",
    "nnunet_ext.check.findings.Finding",
    "nnunet_ext.splits.audit.Audit",
    "nnunet_ext.monitoring.run.Run",
    "pathlib.Path | None",
)


def revealed_types(script: Path) -> list[str]:
    """The types that mypy reveals in a user's script; fails where the script has a type error."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r'Revealed type is "(.+)"', done.stdout)


def test_a_name_is_imported_when_it_is_first_used():
    for name in nnunet_ext.__all__:
        assert getattr(nnunet_ext, name) is not None
        assert name in dir(nnunet_ext)
    with pytest.raises(AttributeError, match="no_such_name"):
        nnunet_ext.no_such_name  # noqa: B018


def test_a_users_script_gets_the_types_of_what_it_calls(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    assert revealed_types(script) == list(TYPES)


def test_every_public_name_has_a_type_and_no_function_returns_any(tmp_path):
    lines = ["import nnunet_ext", *(f"reveal_type(nnunet_ext.{name})" for name in nnunet_ext.__all__)]
    script = tmp_path / "script.py"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    types = dict(zip(nnunet_ext.__all__, revealed_types(script), strict=True))
    for name, text in types.items():
        assert text.startswith("def "), (name, text)
        assert not re.search(r"-> Any\??$", text), (name, text)


def test_the_package_tells_type_checkers_that_it_is_typed():
    assert (Path(nnunet_ext.__file__).parent / "py.typed").is_file()
