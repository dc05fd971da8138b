"""Text of a file that is still being written, decoded as it grows."""

from __future__ import annotations

import codecs
import re

TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LONGEST_MARK_BYTES = 3


class IncrementalText:
    """Decodes bytes that arrive in pieces into whole lines; undecodable bytes become a replacement mark.

    The text is UTF-8, or UTF-16 where it begins with that byte order mark, as output captured by PowerShell
    does. Colour codes of terminals are removed.

    Attributes:
        tail: the last line, as far as it is written.
    """

    def __init__(self) -> None:
        self.tail = ""
        self._head = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def add(self, data: bytes) -> str:
        """Add the next bytes, and return the lines that they complete, with their line ends."""
        text = self.tail + self._decoded(data)
        if "\x1b" in text:
            text = TERMINAL_CODES.sub("", text)
        whole, line_end, self.tail = text.rpartition("\n")
        return whole + line_end

    def _decoded(self, data: bytes) -> str:
        if self._decoder is None:
            self._head += data
            if len(self._head) < LONGEST_MARK_BYTES:
                return ""
            data, self._head = self._head, b""
            encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
            self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        return self._decoder.decode(data)
