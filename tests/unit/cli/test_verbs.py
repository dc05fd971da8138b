"""The verbs as a user meets them: help with examples, near names, completion in shells."""

import os
import shlex
import subprocess
import sys

import pytest

from nnunet_ext.cli.main import build_parser, main
from nnunet_ext.cli.verbs import GROUPS, VERBS

OF_EXAMPLES = [(verb, example) for verb, known in VERBS.items() for example in known.examples]


@pytest.mark.parametrize(("verb", "example"), OF_EXAMPLES, ids=[example for _, example in OF_EXAMPLES])
def test_an_example_is_what_its_verb_takes(verb, example):
    arguments = shlex.split(example)
    assert arguments[0] == verb
    assert build_parser(verb).parse_args(arguments).verb == verb


@pytest.mark.parametrize("verb", VERBS)
def test_help_begins_with_the_purpose_and_ends_with_the_examples(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    shown = capsys.readouterr().out
    assert shown.index(VERBS[verb].summary[1:]) < shown.index("options:")
    assert shown.endswith("".join(f"  nnunet_ext {example}\n" for example in VERBS[verb].examples))


def test_verbs_with_options_have_two_examples():
    without_options = {"register", "unregister", "doctor"}
    assert {verb for verb, known in VERBS.items() if len(known.examples) != 2} == without_options


def test_the_help_of_all_shows_each_verb_in_its_group(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for group, verbs in GROUPS.items():
        listed = shown.split(f"\n{group}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in listed.splitlines()] == list(verbs)


def test_a_misspelt_verb_is_answered_with_the_near_one(capsys):
    assert main(["enseble", "-o", "out"]) == 2
    assert "has no verb 'enseble'. Did you mean ensemble?" in capsys.readouterr().err
    assert main(["xyz"]) == 2
    assert "Did you mean" not in capsys.readouterr().err


def test_a_misspelt_option_is_answered_with_the_near_one(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["check", "-d", "4", "--fixraw", "--qqq"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "unrecognized argument --fixraw (did you mean --fix_raw?); unrecognized argument --qqq\n" in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "powershell"])
def test_completion_is_printed_for_each_shell(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "nnunet_ext" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nnunet_ext ens", ["ensemble"]),
        ("nnunet_ext verify --h", ["--help"]),
        ("nnunet_ext tune -over w", ["worst"]),
    ],
)
def test_a_shell_is_told_how_a_command_may_go_on(line, expected, tmp_path):
    told = tmp_path / "told"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(told),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run([sys.executable, "-m", "nnunet_ext"], env={**os.environ, **asked}, check=False)
    assert told.read_text(encoding="utf-8").split() == expected
