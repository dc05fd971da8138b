"""The commands of README and documentation are ones that their verbs take; `test_pages.py` runs them."""

import itertools
import re
import shlex

import pytest
from pages import DOCS, NOT_RUN, PARSED_ONLY, ROOT, RUN, commands, every_page

from nnunet_ext.cli.main import build_parser
from nnunet_ext.cli.verbs import VERBS

INLINE = re.compile(r"`nnunet_ext (?P<verb>[a-z]+)(?P<rest> [^`]*)?`")

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="no docs here")


def test_every_command_in_the_docs_is_one_that_its_verb_takes():
    checked, wrong = 0, []
    for page in every_page():
        for words in commands(page, {"bash", "sh", "powershell", "bat"}):
            if words[0] != "nnunet_ext" or "..." in words:
                continue
            checked += 1
            given = [
                word.replace("$fold", "0")
                for word in itertools.takewhile(lambda word: word not in "|>", words)
            ]
            try:
                build_parser(words[1] if words[1] in VERBS else None).parse_args(given[1:])
            except SystemExit:
                wrong.append(f"{page.name}: {shlex.join(words)}")
    assert checked > 60 and not wrong, wrong


def test_every_command_within_a_sentence_has_a_verb_and_options_that_are_there():
    checked, wrong = 0, []
    for page in every_page():
        for found in INLINE.finditer(page.read_text(encoding="utf-8")):
            options = re.findall(r"(?<=\s)--?[a-z]\w*", found["rest"] or "")
            checked += 1
            if found["verb"] not in VERBS or not set(options) <= options_of(found["verb"]):
                wrong.append(f"{page.name}: {found[0]}")
    assert checked > 15 and not wrong, wrong


def options_of(verb: str) -> set[str]:
    """The options of a verb and of what follows it, as in `probabilities convert`."""
    parsers, found = [build_parser(verb)], set()
    while parsers:
        for action in parsers.pop()._actions:
            found |= {*action.option_strings}
            parsers += getattr(action, "choices", None).values() if action.nargs == "A..." else ()
    return found


def test_every_page_with_commands_is_run_or_says_why_not():
    with_commands = {
        page.relative_to(ROOT).as_posix()
        for page in every_page()
        if commands(page, {"bash", "sh", "powershell", "bat"})
    }
    assert with_commands == {*RUN, *PARSED_ONLY}
    assert all((ROOT / page).exists() for page in (*RUN, *PARSED_ONLY))


def test_every_verb_is_shown_with_an_example_on_a_page_that_explains_it():
    shown = {
        words[1]
        for page in DOCS.rglob("*.md")
        for words in commands(page, {"bash", "sh"})
        if words[0] == "nnunet_ext"
    }
    assert {*VERBS} - shown == {"env"}  # a shell evaluates its lines


def test_what_is_not_run_on_a_page_that_is_run_has_a_reason():
    left_out = [words for page in RUN for words in commands(ROOT / page, {"sh"})]
    firsts = {" ".join(words[:2]) if words[0] == "nnunet_ext" else words[0] for words in left_out}
    assert firsts == {*NOT_RUN}
