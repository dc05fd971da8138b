"""The laws of reading logs: nothing raises, and what is cut off is not guessed."""

import codecs
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_logs import TRACEBACK, LogWriter, best_stated, epochs, float32

from nnunet_ext.nnunet.history import History
from nnunet_ext.nnunet.training_log import LogParser, parse_log

SOME = best_stated(epochs(4))
PLAIN = LogWriter(float32).raw("n_epochs = 4 (default) \n").epochs(SOME).end().raw(TRACEBACK).text
RESUMED = (
    LogWriter().epochs(epochs(4)).start(epochs(5)[4]).raw("\n").epochs(epochs(3, first=2, shift=0.01)).text
)


def n_whole_epochs(text):
    """Independent of the parser: by the last line of an epoch."""
    return len(re.findall(r"Epoch time: \d+\.\d+ s", text))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_truncated_at_any_byte_a_log_holds_the_epochs_whose_last_line_is_whole(line_end):
    data = PLAIN.replace("\n", line_end).encode()
    for cut in range(len(data) + 1):
        log = parse_log(data[:cut])
        whole = n_whole_epochs(data[:cut].decode())
        expected = SOME[:whole]
        for epoch, other in zip(log.epochs, expected, strict=True):
            # Only the line behind an epoch, which says that it is the best, may still be missing.
            assert (epoch.average, *epoch.dice) in {(other.average, *other.dice), (None, *other.dice)}
            assert epoch.train_loss == other.train_loss and epoch.seconds == other.seconds
        assert all(
            epoch.average == other.average for epoch, other in zip(log.epochs[:-1], expected, strict=False)
        )


def test_truncated_at_any_byte_utf16_invents_nothing():
    data = codecs.BOM_UTF16_LE + PLAIN.encode("utf-16-le")
    for cut in range(0, len(data) + 1, 3):
        whole = n_whole_epochs(data[: cut - cut % 2].decode("utf-16"))
        assert [epoch.seconds for epoch in parse_log(data[:cut]).epochs] == [e.seconds for e in SOME[:whole]]


def test_truncated_at_any_byte_a_resumed_log_has_each_epoch_once_and_rising():
    data = RESUMED.encode()
    for cut in range(len(data) + 1):
        log = parse_log(data[:cut])
        numbers = [epoch.number for epoch in log.epochs]
        assert numbers == list(range(len(numbers)))


@given(st.lists(st.integers(0, len(PLAIN)), max_size=12))
def test_it_does_not_matter_in_which_pieces_a_log_comes(cuts):
    data, parser = PLAIN.encode(), LogParser()
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        parser.feed(data[start:end])
    assert parser.log() == parse_log(data)


without_digits = st.binary(max_size=300).map(lambda data: re.sub(rb"\d", b"x", data))


@given(without_digits, st.integers(0, len(PLAIN)))
def test_garbage_anywhere_raises_nothing_and_adds_no_epoch(garbage, place):
    data = PLAIN.encode()
    log = parse_log(data[:place] + garbage + data[place:])
    assert {epoch.number for epoch in log.epochs} <= {epoch.number for epoch in SOME}


@given(st.text(alphabet="Epoch tim:0123456789.s \n\r[]naf,dice_lrvYy!", max_size=400))
def test_a_log_made_of_the_right_letters_raises_nothing(text):
    log = parse_log(text.encode())
    assert len(History((), log.epochs).averages) == len(log.epochs)
