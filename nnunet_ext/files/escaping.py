"""Text from files, escaped where it is shown: on terminals, in CSV cells and in shell commands.

File names, labels and log lines are data. Without escaping, a terminal obeys control characters in them, a
spreadsheet runs cells that begin like a formula, and text after a line end looks like a message of ours.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import Any, TextIO

LINE_MARKS = "\n\t"
# C0 and C1 controls, line and paragraph separators, marks that turn the direction of text, surrogates
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
UNSAFE_IN_LINES = re.compile(UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """A text on one line, with escapes such as `\\x1b` for characters that a terminal would obey."""
    return UNSAFE.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """A text as `printable` gives it, but with its line ends and tabs."""
    return UNSAFE_IN_LINES.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def say(*values: Any, file: TextIO | None = None, flush: bool = False) -> None:
    """Print values as `print` does, with escapes for characters that a terminal would obey."""
    print(printable_lines(" ".join(map(str, values))), file=file or sys.stdout, flush=flush)


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file; text that begins like a formula gets a quote, so that no spreadsheet runs it."""
    is_formula = isinstance(value, str) and value.startswith(FORMULA_MARKS) and not _is_number(value)
    return f"'{value}" if is_formula else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def shell_quoted(text: object) -> str:
    """A path or text as one word of a shell command; on Windows for cmd and PowerShell alike."""
    words = str(text)
    if re.fullmatch(r"[\w@%+=:,./-]+", words) or (os.name == "nt" and re.fullmatch(r"[\w:.+\\/-]+", words)):
        return words
    return f'"{words}"' if os.name == "nt" else shlex.quote(words)
