"""The last words of a training that broke off, in its log or in what a console captured."""

from __future__ import annotations

import re

TRACEBACK = "Traceback (most recent call last)"
ERROR = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: .*)?\s*")
KILLED = re.compile(
    r"\b(Killed|Segmentation fault|Bus error|oom[-_]kill\w*|out of memory|DUE TO TIME LIMIT|CANCELLED AT)\b",
    re.IGNORECASE,
)
CONSEQUENCE = re.compile(r"background workers? (?:are|is) no longer alive")
BROKE_OFF = "Training broke off: "  # as our trainers log it
KEPT_EPOCHS = 1


class Failures:
    """Collects errors line by line and remembers for how many epochs they are past."""

    def __init__(self) -> None:
        self._found: list[tuple[int, str]] = []
        self._n_epochs = 0
        self._in_traceback = False

    def begin_epoch(self) -> None:
        """An epoch begins; what was outlived by more than one epoch killed nobody."""
        self._n_epochs += 1
        if self._found:
            self._found = [one for one in self._found if self._n_epochs - one[0] <= KEPT_EPOCHS]

    def read(self, line: str) -> None:
        """Read a line that is none of nnU-Net's own."""
        if line.startswith(BROKE_OFF):
            self._found.append((self._n_epochs, line.removeprefix(BROKE_OFF).strip()))
        elif TRACEBACK in line:
            self._in_traceback = True
        elif self._in_traceback and ERROR.fullmatch(line):
            self._found.append((self._n_epochs, line.strip()))
            self._in_traceback = False
        elif not self._in_traceback and KILLED.search(line):
            self._found.append((self._n_epochs, line.strip()))

    def last_words(self) -> str | None:
        """The last error; that a worker died says nothing where another error says why."""
        words = [text for _, text in self._found]
        causes = [text for text in words if not CONSEQUENCE.search(text)]
        return next(reversed(causes or words), None)
