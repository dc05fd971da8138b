"""Text of files shows on a terminal, in a table and in a shell line, and does nothing there."""

import shlex
import subprocess
import sys

import pytest

from nnunet_ext.files.escaping import csv_cell, printable, printable_lines, say, shell_quoted

ESCAPES = {
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b2J": r"\x9b2J",
    "a\nerror  b": r"a\nerror  b",
    "\u202egnp.exe": r"\u202egnp.exe",
    "M\udcfcller": r"M\udcfcller",
    "\r\x7f\u2028": r"\r\x7f\u2028",
    "Müller µm 心臓": "Müller µm 心臓",
}


@pytest.mark.parametrize(("text", "shown"), ESCAPES.items())
def test_what_a_terminal_would_obey_is_shown_instead(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_messages_keep_their_lines(capsys):
    assert printable_lines("a\n\tb\x1b[2J") == "a\n\tb\\x1b[2J"
    say("one\x1b[31m", 2)
    say("three", file=sys.stderr)
    assert capsys.readouterr() == ("one\\x1b[31m 2\n", "three\n")


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_begins_a_formula(text):
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+1e3", "liver", "", -0.5, None, "-inf"])
def test_other_cells_stay_as_they_are(value):
    assert csv_cell(value) == value


@pytest.mark.skipif(sys.platform == "win32", reason="of POSIX shells")
def test_a_path_is_one_word_of_a_shell_line():
    text = "a b$(touch x)`y`'\";"
    command = ["sh", "-c", f"printf %s {shell_quoted(text)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == text and shlex.split(shell_quoted("/plain/path.json")) == ["/plain/path.json"]
