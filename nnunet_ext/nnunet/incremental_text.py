"""The text of a file that is still being written, line by line."""

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
    """Makes lines of bytes that come in any cut; bytes that are no text become a replacement mark.

    It is UTF-8, or UTF-16 where a byte order mark says so, as in what PowerShell captures. A terminal's
    codes for colours are left out.

    Attributes:
        tail: the last line as far as it is written.
    """

    def __init__(self) -> None:
        self.tail = ""
        self._head = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def add(self, data: bytes) -> str:
        """Take the next bytes, and give the lines that are whole by them, with their ends."""
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
