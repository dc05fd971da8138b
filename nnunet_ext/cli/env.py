"""`nnunet_ext env`: prints the lines that set nnU-Net's variables in bash, cmd or PowerShell."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import say
from nnunet_ext.installation.environment import SHELLS, Shell, environment_lines

ON_WINDOWS = os.name == "nt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "--shell",
        choices=SHELLS,
        default="powershell" if ON_WINDOWS else "bash",
        help="the shell to print lines for; zsh reads those of bash, and cmd those of a batch file",
    )
    parser.add_argument(
        "-b",
        dest="base",
        metavar="BASE",
        type=_folder,
        help="folder that holds nnUNet_raw, nnUNet_preprocessed and nnUNet_results; without it, variables "
        "that are set are kept, and the others name folders in the current folder",
    )


def run(args: argparse.Namespace) -> int:
    """Print the lines in the encoding that the shell reads."""
    if args.base is not None and args.base.exists() and not args.base.is_dir():
        raise UsageError(f"-b {args.base} is a file. Name the folder that holds nnU-Net's three folders.")
    if args.base is not None and not args.base.exists():
        say(f"note: there is no folder {args.base} yet", file=sys.stderr)
    lines = environment_lines(args.shell, args.base).lines
    end = "\r\n" if args.shell == "cmd" else "\n"
    sys.stdout.buffer.write(_encoded("".join(line + end for line in lines), args.shell))
    return 0


def _folder(text: str) -> Path:
    """A folder; on Windows `"C:\\my data\\"` arrives with its closing quote, as if that were escaped."""
    return Path(text.rstrip('"') if ON_WINDOWS else text)


def _encoded(text: str, shell: Shell) -> bytes:
    """A text as the shell reads it: for cmd in the console's code page, else as file names are encoded."""
    if shell != "cmd" or not ON_WINDOWS:
        return os.fsencode(text)
    page = _console_code_page()
    try:
        return text.encode(page)
    except UnicodeEncodeError:
        letters = "".join(dict.fromkeys(letter for letter in text if not _is_in(page, letter)))
        raise UsageError(
            f"{letters!r} is not in this console's code page {page}. "
            "Switch to UTF-8 with `chcp 65001` and try again."
        ) from None


def _is_in(page: str, letter: str) -> bool:
    try:
        letter.encode(page)
    except UnicodeEncodeError:  # Windows' code pages do not tell the position in a whole text
        return False
    return True


def _console_code_page() -> str:
    """Python's name for the console's code page, or the system's where there is no console."""
    import ctypes

    number = ctypes.WinDLL("kernel32").GetConsoleOutputCP()  # type: ignore[attr-defined]
    return f"cp{number}" if number else "oem"
