"""The lines for cmd, run by a cmd: that of Windows, or Wine's."""

import os
import shutil
import subprocess

import pytest

from nnunet_ext.installation.environment import assignment

ON_WINDOWS = os.name == "nt"

VALUES = [
    "C:\\plain",
    "C:\\a folder\\with  two blanks",
    "C:\\100% of %PATH%\\%1",
    "C:\\this & that (x86)\\it's^^^\\!now!",
    "C:\\closing\\",
]
if ON_WINDOWS:  # Wine's cmd reads batch files by one code page, whatever chcp says
    VALUES.append("C:\\Jörg Müller\\Łódź")


@pytest.fixture
def run_batch(tmp_path):
    """Runs lines as a batch file in UTF-8 and gives the lines printed."""
    wine = {} if ON_WINDOWS else {"WINEPREFIX": str(tmp_path / "wine"), "WINEDEBUG": "-all", "DISPLAY": ""}
    command = ["cmd", "/c", "lines.bat"] if ON_WINDOWS else ["wine", "cmd", "/c", "lines.bat"]

    def run(*lines):
        text = "".join(line + "\r\n" for line in ("@echo off", "chcp 65001 >nul", *lines))
        (tmp_path / "lines.bat").write_bytes(text.encode("utf-8"))
        child = subprocess.run(command, cwd=tmp_path, env=os.environ | wine, capture_output=True, check=True)
        return child.stdout.decode("utf-8").splitlines()

    return run


@pytest.mark.slow
@pytest.mark.skipif(
    not ON_WINDOWS and shutil.which("wine") is None, reason="neither Windows nor Wine is here"
)
def test_cmd_reads_back_every_value(run_batch):
    names = [f"nnUNet_{number}" for number in range(len(VALUES))]
    lines = [assignment("cmd", name, value) for name, value in zip(names, VALUES, strict=True)]
    out = run_batch(*lines, *(f"set {name}" for name in names))
    assert out == [f"{name}={value}" for name, value in zip(names, VALUES, strict=True)]
