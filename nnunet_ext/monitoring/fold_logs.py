"""A fold's training logs, read again and again: each look reads only what was added since the last one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from nnunet_ext.nnunet.model_folder import find_captures, find_logs, log_began
from nnunet_ext.nnunet.training_log import Log, LogParser


class LogFollower:
    """Reads the logs of one fold, and remembers how far.

    Attributes:
        unread: the error of each log that could not be read at the last look.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._parser = LogParser()
        self._read: list[Path] = []
        self._offset = 0
        self.unread: dict[Path, str] = {}

    def look(self, paths: list[Path]) -> Log:
        """Read what the logs hold by now.

        Args:
            paths: all logs of the fold, the oldest first. Where a log that was read has shrunk or is gone,
                all are read anew.
        """
        if paths[: len(self._read)] != self._read or (self._read and _size(self._read[-1]) < self._offset):
            self._begin()
        for path in paths[max(0, len(self._read) - 1) :]:
            if path not in self._read:
                self._parser.begin_file()
                self._read.append(path)
                self._offset = 0
            self._read_on(path)
        return self._parser.log()

    def _read_on(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError as error:
            self.unread[path] = str(error)
            return
        self.unread.pop(path, None)
        self._offset += len(data)
        self._parser.feed(data)


class LogFiles:
    """The logs of a fold and, once they were looked for, files of captured console output beside them.

    Attributes:
        logs: the logs, the oldest first.
        captures: files of captured console output, the oldest first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.logs = find_logs(folder)
        self.captures: list[Path] = []

    def find_captures(self) -> None:
        """Look for captured console output, which opens every text file in the folder."""
        self.captures = find_captures(self._folder)

    @property
    def substitute(self) -> Path | None:
        """The captured output to read in place of a log; None where there is a log or no output."""
        return self.captures[-1] if self.captures and not self.logs else None

    @cached_property
    def modified(self) -> float | None:
        """Time at which the logs, or the captured output in their place, last grew; seconds since 1970."""
        return max((_mtime(path) for path in self.logs or self.captures[-1:]), default=None)

    @cached_property
    def began(self) -> float | None:
        """Time at which the newest log was begun, taken from its name; seconds since 1970."""
        return log_began(self.logs[-1]) if self.logs else None

    def is_of_newest(self, path: Path) -> bool:
        """Whether a file was written after the newest log was begun."""
        return self.began is None or _mtime(path) >= self.began


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
