import os
import re
import subprocess

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from nnunet_ext.errors import UsageError
from nnunet_ext.installation.environment import SHELLS, assignment

NASTY = [
    "plain",
    "",
    "/data/a folder/with  two blanks ",
    "it's a \"quoted\" 'name'",
    "$HOME/`id`/$(id)/${x}",
    "C:\\Users\\Jörg Müller\\n\\t\\",
    "100% of %PATH% & more | less > out < in ^ !now! #not a comment; done",
    "~/über/Łódź/日本/😀",
    "‘curly’ “quotes” – and a dash",  # noqa: RUF001, PowerShell takes these for quotes
    "-e",
    "two\nlines",
]
TERM = re.compile(r"'((?:[^']|'')*)'|\[char\]0x([0-9A-F]{4})")


def powershell_value(line):
    """Read a printed line back as PowerShell would: strings and characters by number, joined by +."""
    name, _, expression = line.partition(" = ")
    terms = TERM.findall(expression)
    assert " + ".join(match[0] for match in TERM.finditer(expression)) == expression
    units = [text.replace("''", "'") if not unit else chr(int(unit, 16)) for text, unit in terms]
    return name, "".join(units).encode("utf-16", "surrogatepass").decode("utf-16")


@pytest.mark.skipif(os.name == "nt", reason="on Windows `bash` may be that of another system")
@pytest.mark.parametrize("value", NASTY)
def test_bash_reads_back_every_value(value):
    line = assignment("bash", "nnUNet_raw", value)
    program = f'{line}\nprintf "%s." "$nnUNet_raw"; env | grep -q ^nnUNet_raw='
    out = subprocess.run(["bash", "-eu", "-c", program], capture_output=True, check=True).stdout
    assert out.decode() == value + "."


@pytest.mark.parametrize("value", NASTY)
def test_powershell_reads_back_every_value(value):
    line = assignment("powershell", "nnUNet_raw", value)
    assert powershell_value(line) == ("$env:nnUNet_raw", value)


@pytest.mark.parametrize("value", NASTY)
def test_powershell_lines_are_ascii_and_parse(value):
    line = assignment("powershell", "nnUNet_raw", value)
    tree = Parser(Language(tree_sitter_powershell.language())).parse(line.encode("ascii"))
    assert not tree.root_node.has_error
    assert "\n" not in line


def test_cmd_doubles_percent_signs_and_ends_at_the_quote():
    assert assignment("cmd", "A", "C:\\100% & more") == 'set "A=C:\\100%% & more"'


@pytest.mark.parametrize("value", ['C:\\"data"', "two\nlines"])
def test_cmd_refuses_what_it_cannot_hold(value):
    with pytest.raises(UsageError, match="nnUNet_raw would be"):
        assignment("cmd", "nnUNet_raw", value)


@pytest.mark.parametrize("shell", SHELLS)
def test_no_line_ends_in_a_blank(shell):
    assert not assignment(shell, "A", "b ").endswith(" ")
