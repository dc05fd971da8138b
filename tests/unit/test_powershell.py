"""The PowerShell scripts under a real PowerShell, with stand-ins for `python` and `nnunet_ext`.

Of Windows PowerShell 5.1 nothing is shown: its syntax alone is kept, and its parser's newer sister reads it.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from nnunet_ext.installation.environment import assignment

PWSH = shutil.which("pwsh")
pytestmark = pytest.mark.skipif(PWSH is None, reason="no pwsh (PowerShell 7) is on the PATH")
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "windows"
ON_POSIX = os.name != "nt"
BASES = (
    "/data/nnunet", "/O'Brien/data", "/a b/$home", "/`tick`", '/say "hi"', "/Übung/測試", "/a;b&c|d", "/@(1)",
    "/%PATH%/{0}", "/\u2019curly\u2018", "/[x]*?", "/-b",
)  # fmt: skip


@dataclass
class Checkout:
    """A checkout with odd letters in its path, and a folder of stand-ins that is the whole PATH."""

    root: Path
    commands: Path

    def stand_in(self, name: str, lines: str) -> None:
        """A program of that name; its arguments are kept beside it, a line each call."""
        path = self.commands / name
        path.write_text(
            f'#!/bin/sh\necho "$@" >> "{self.commands}/{name}.calls"\n{lines}\n', encoding="utf-8"
        )
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        calls = self.commands / f"{name}.calls"
        return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess:
        """Run a line of PowerShell in the checkout; its exit code is that of the line's last script."""
        path = str(self.commands).replace("'", "''")
        before = f"Set-StrictMode -Version Latest\n$env:PATH = '{path}'\n$global:LASTEXITCODE = 0"
        line = f"{before}\n{command}\nexit $LASTEXITCODE"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
        return subprocess.run(
            [PWSH, "-NoProfile", "-NonInteractive", "-Command", line],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=self.root,
            check=False,
            env={**inherited, "TERM": "dumb", "NO_COLOR": "1", **variables},
        )


@pytest.fixture
def checkout(tmp_path):
    root, commands = tmp_path / "check out Ü's 測試", tmp_path / "bin"
    shutil.copytree(SCRIPTS, root / "scripts" / "windows")
    for name in ("setup.py", "pyproject.toml"):
        (root / name).write_text("", encoding="utf-8")
    commands.mkdir()
    for name in ("sh", "cp", "mkdir", "cat", "chmod"):
        (commands / name).symlink_to(shutil.which(name))
    return Checkout(root, commands)


ACTIVATE = "./scripts/windows/activate.ps1"
TRAINERS = assignment("powershell", "nnUNet_extTrainer", "/trainers")


def prints(checkout: Checkout, *lines: str, code: int = 0) -> None:
    """Let `nnunet_ext` print these lines."""
    (checkout.commands / "lines").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    checkout.stand_in("nnunet_ext", f'cat "{checkout.commands}/lines"\nexit {code}')


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.ps1")), ids=lambda path: path.name)
def test_powershells_own_parser_finds_no_error(script, checkout):
    parser = "[System.Management.Automation.Language.Parser]"
    done = checkout.run(
        f"$errors = $null; [void]{parser}::ParseFile('{script}', [ref]$null, [ref]$errors)\n"
        '"$($errors.Count) errors"'
    )
    assert done.stdout.strip() == "0 errors", done.stdout + done.stderr


def test_odd_folders_come_out_as_they_are(checkout):
    """The lines of `env` for each base, through the script, all in one PowerShell."""
    seen = []
    for number, base in enumerate(BASES):
        lines = [
            assignment("powershell", name, f"{base}/{name}") for name in ("nnUNet_raw", "nnUNet_results")
        ]
        (checkout.commands / f"lines{number}").write_text("\n".join([*lines, TRAINERS]), encoding="utf-8")
        seen.append(f"{base}/nnUNet_raw|{base}/nnUNet_results|/trainers")
    checkout.stand_in("nnunet_ext", f'cat "{checkout.commands}/lines$NUMBER"')
    done = checkout.run(
        f"foreach ($number in 0..{len(BASES) - 1}) {{\n  $env:NUMBER = $number\n  . {ACTIVATE}\n"
        '  [Console]::Out.WriteLine("$env:nnUNet_raw|$env:nnUNet_results|$env:nnUNet_extTrainer")\n}'
    )
    assert done.stderr == "" and done.stdout.splitlines() == seen
    assert set(checkout.calls("nnunet_ext")) == {"env --shell powershell"}


@pytest.mark.parametrize("option", ["-Base", "-b"])
def test_the_base_is_handed_over_without_trailing_separators(checkout, option):
    prints(checkout, TRAINERS)
    done = checkout.run(f"& {ACTIVATE} {option} 'C:\\my data\\'; & {ACTIVATE} {option} '/'")
    assert done.returncode == 0, done.stderr
    assert checkout.calls("nnunet_ext") == [
        r"env --shell powershell -b C:\my data",
        "env --shell powershell -b /",
    ]


@pytest.mark.parametrize("arguments", ["--help", "--shell bash", "folder", "-x y"])
def test_other_arguments_are_refused_and_nothing_is_run(checkout, arguments):
    prints(checkout, TRAINERS)
    done = checkout.run(f"& {ACTIVATE} {arguments}")
    assert (done.returncode, checkout.calls("nnunet_ext")) == (1, [])
    assert done.stderr.count("\n") == 1 and "Usage: activate.ps1 [-Base FOLDER]" in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "usage: nnunet_ext [-h]",
        "export nnUNet_raw=/a",
        "$env:nnUNet_raw = $(throw 'run')",
        "$env:nnUNet_raw = 'a'; throw 'run'",
        "$env:PATH = 'a'",
        "$env:nnUNet_raw = 'a' + [char]0x1",
    ],
)
def test_only_lines_of_the_commands_own_form_are_run(checkout, line):
    prints(checkout, TRAINERS, line)
    done = checkout.run(f"& {ACTIVATE}")
    assert done.returncode == 1 and "Nothing was run" in done.stderr and done.stderr.count("\n") == 1


def test_a_command_that_fails_sets_nothing(checkout):
    prints(checkout, TRAINERS, code=2)
    done = checkout.run(f'& {ACTIVATE}; $code = $LASTEXITCODE; "seen $env:nnUNet_extTrainer."; exit $code')
    assert (done.returncode, done.stdout.strip()) == (1, "seen .")
    assert done.stderr.strip() == "The variables are not set; see the message above."


def test_without_a_command_it_says_so_and_a_window_stays_open(checkout):
    done = checkout.run(f"& {ACTIVATE}")
    assert done.returncode == 1 and done.stderr.startswith("nnunet_ext is not in the active environment")
    done = checkout.run(
        f"try {{ . {ACTIVATE} }} catch {{ \"caught: $_\" }}; 'open'; $global:LASTEXITCODE = 0"
    )
    assert done.stdout.startswith("caught: nnunet_ext is not in") and done.stdout.strip().endswith("open")


def test_nothing_is_left_behind_and_the_environment_is_activated(checkout):
    prints(checkout, TRAINERS)
    activate = checkout.root / ".venv" / "Scripts" / "Activate.ps1"
    activate.parent.mkdir(parents=True)
    activate.write_text("$env:ACTIVATED = 'yes'", encoding="utf-8")
    done = checkout.run(
        f". {ACTIVATE} -Base /data\n"
        "$names = 'activate', 'lines', 'options', 'Base', 'Others', 'folder'\n"
        "$left = $names | Where-Object { Test-Path variable:$_ }\n"
        '"$env:ACTIVATED, left: $left."'
    )
    assert done.stdout.strip() == "yes, left: .", done.stderr


def test_help_is_comment_based(checkout):
    done = checkout.run(f"(Get-Help {ACTIVATE}).Synopsis; (Get-Help {ACTIVATE} -Parameter Base).name")
    assert done.stdout.split("\n")[0].startswith("Sets nnU-Net's variables") and "Base" in done.stdout


# What makes environments


def stand_in_python(
    checkout: Checkout, *, python: str = "python", pip: int = 0, venv: int = 0, old: int = 0
) -> None:
    """A Python that makes environments whose Python writes down what it is asked, and fails as told."""
    inner = checkout.commands / "inner"
    inner.write_text(
        f'#!/bin/sh\necho "$@" >> "{checkout.commands}/venv.calls"\n'
        'case "$*" in\n'
        f'  *"-m pip"*) exit {pip};;\n'
        "  *\"find_spec('torch')\"*) exit ${TORCH_CODE:-1};;\n"
        "  *find_spec*) exit ${FOUND_CODE:-1};;\n"
        '  *"-m mypy"*) exit ${MYPY_CODE:-0};;\n'
        '  *"-m nnunet_ext"*) exit ${VERB_CODE:-0};;\n'
        "esac\n",
        encoding="utf-8",
    )
    inner.chmod(0o755)
    checkout.stand_in(
        python,
        f'case "$*" in *version_info*) exit {old};; *--version*) echo Python 3.13; exit 0;; esac\n'
        f"[ {venv} = 0 ] || exit {venv}\n"
        f'for last; do :; done\nmkdir -p "$last/Scripts"\ncp "{inner}" "$last/Scripts/python.exe"',
    )


def test_an_environment_is_made_once_and_used_again(checkout):
    stand_in_python(checkout)
    first = checkout.run("& ./scripts/windows/demo.ps1 -o 'my demo'", VERB_CODE="3")
    assert first.returncode == 3 and "Making" in first.stdout and "Installing" in first.stdout, first.stderr
    calls = checkout.calls("venv")
    assert calls[-1] == "-m nnunet_ext demo -o my demo" and "--editable ." in calls[-2]
    again = checkout.run("& ./scripts/windows/demo.ps1")
    assert again.returncode == 0 and "Using" in again.stdout
    (checkout.root / "setup.py").write_text("changed", encoding="utf-8")
    assert "Installing" in checkout.run("& ./scripts/windows/demo.ps1").stdout


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ({"pip": 1}, "pip could not install ."),
        ({"venv": 1}, "python cannot make virtual environments"),
        ({"old": 1}, "python is not Python 3.10 or newer"),
    ],
)
def test_what_fails_is_one_line_and_exit_code_1(checkout, fails, said):
    stand_in_python(checkout, **fails)
    done = checkout.run("& ./scripts/windows/demo.ps1")
    assert done.returncode == 1 and done.stderr.startswith(said) and done.stderr.count("\n") == 1


def test_a_python_that_is_not_there_is_told(checkout):
    done = checkout.run("& ./scripts/windows/demo.ps1")
    assert done.returncode == 1 and done.stderr.startswith("There is no python on the PATH")
    done = checkout.run("& ./scripts/windows/demo.ps1", PYTHON="/no/python.exe")
    assert done.returncode == 1 and "PYTHON names /no/python.exe" in done.stderr


def test_without_python_the_launcher_is_asked(checkout):
    stand_in_python(checkout, python="py")
    done = checkout.run("& ./scripts/windows/demo.ps1")
    assert done.returncode == 0, done.stderr
    assert all(call.startswith("-3 ") for call in checkout.calls("py"))


def test_all_checks_run_whatever_a_profile_prefers(checkout):
    stand_in_python(checkout)
    line = "$PSNativeCommandUseErrorActionPreference = $true\n& ./scripts/windows/test.ps1 -m 'not slow'"
    done = checkout.run(line, MYPY_CODE="1")
    assert done.returncode == 1 and "Failed: mypy" in done.stdout
    processes = "-n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder"
    assert checkout.calls("venv")[-1] == f"-m pytest {processes} --durations=25 -m not slow"
    assert checkout.run(line).returncode == 0


def test_a_driver_without_a_torch_for_it_is_told(checkout):
    stand_in_python(checkout)
    assert "NVIDIA" not in checkout.run("& ./scripts/windows/demo.ps1").stdout
    shutil.rmtree(checkout.root / ".venv")
    checkout.stand_in("nvidia-smi", "exit 0")
    done = checkout.run("& ./scripts/windows/demo.ps1")
    assert done.returncode == 0 and "There is an NVIDIA driver" in done.stdout
    shutil.rmtree(checkout.root / ".venv")
    assert "NVIDIA" not in checkout.run("& ./scripts/windows/demo.ps1", TORCH_CODE="0").stdout


def test_monitoring_installs_no_torch(checkout):
    stand_in_python(checkout)
    checkout.stand_in("nvidia-smi", "exit 0")
    done = checkout.run("& ./scripts/windows/monitor.ps1 --once")
    assert done.returncode == 0 and "NVIDIA" not in done.stdout, done.stderr
    installs = [call for call in checkout.calls("venv") if "pip install" in call]
    assert installs[0].endswith("--no-deps --editable .") and "torch" not in "".join(installs)
    assert checkout.calls("venv")[-1] == "-m nnunet_ext monitor --once"
    assert "Installing" not in checkout.run("& ./scripts/windows/monitor.ps1", FOUND_CODE="0").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="these are stand-ins for Windows on another system")
def test_the_stand_ins_are_asked_for_nothing_else(checkout):
    stand_in_python(checkout)
    assert checkout.run("& ./scripts/windows/demo.ps1").returncode == 0
    assert len(checkout.calls("python")) == 3  # its version, in words, and to make the environment
