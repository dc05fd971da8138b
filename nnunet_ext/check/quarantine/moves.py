"""Moves of files into the quarantine and out of it, and changes, which consist of moves."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.check.quarantine.own_folders import is_there
from nnunet_ext.files.whole import move, sha256_of, sync

Step = tuple["Move", ...]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Properties by which a file, folder or link is told from another one in its place.

    Attributes:
        kind: `file`, `folder` or `link`.
        n_bytes: size of a file.
        modified_ns: time of the last change of a file.
        sha256: digest of a file that a repair made; None of others.
        leads_to: target of a link, as its text.
    """

    kind: str
    n_bytes: int | None = None
    modified_ns: int | None = None
    sha256: str | None = None
    leads_to: str | None = None

    @classmethod
    def at(cls, path: Path, *, hashed: bool = False) -> Look:
        """The properties of the file, folder or link at a path.

        Raises:
            OSError: there is none, or it cannot be looked up.
        """
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return cls(kind="link", leads_to=os.readlink(path))  # noqa: PTH115, the text as it is
        if stat.S_ISDIR(status.st_mode):
            return cls(kind="folder")
        return cls(
            kind="file",
            n_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            sha256=sha256_of(path) if hashed else None,
        )

    def is_at(self, path: Path) -> bool:
        """Whether the file, folder or link at a path has these properties."""
        return is_there(path) and Look.at(path, hashed=self.sha256 is not None) == self


@dataclass(frozen=True)
class Move:
    """A move of a file between its place in the data set and its place in the quarantine, on one disk.

    Attributes:
        outside: place in the data set.
        inside: place in the quarantine, which no other file ever has.
        goes_in: whether the file is moved into the quarantine; a file that a repair made is moved out of it.
        look: properties of the moved file; None in journals of version 1.
    """

    outside: Path
    inside: Path
    goes_in: bool
    look: Look | None = None

    @property
    def is_done(self) -> bool:
        """Whether the file was moved, by its place in the quarantine."""
        return is_there(self.inside) == self.goes_in

    def do(self) -> None:
        """Move the file.

        Raises:
            OSError: the file cannot be moved, and is where it was.
        """
        _move(*((self.outside, self.inside) if self.goes_in else (self.inside, self.outside)))

    def take_back(self) -> None:
        """Move the file back; otherwise as `do`."""
        _move(*((self.inside, self.outside) if self.goes_in else (self.outside, self.inside)))

    def as_json(self) -> dict[str, Any]:
        """Plain values for the journal."""
        look = {key: value for key, value in asdict(self.look).items() if value is not None}  # type: ignore[arg-type]
        return {
            "outside": str(self.outside),
            "inside": str(self.inside),
            "goes_in": self.goes_in,
            "look": look,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Move:
        """The move whose `as_json` gave these values.

        Raises:
            KeyError, TypeError: they are values of something else.
        """
        look = Look(**plain["look"])
        return cls(Path(plain["outside"]), Path(plain["inside"]), bool(plain["goes_in"]), look)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_there(target):
        raise FileExistsError(errno.EEXIST, "something lies there already", str(target))
    move(source, target)
    for folder in {source.parent, target.parent}:
        sync(folder)


@dataclass(frozen=True)
class Change:
    """The moves of one repair: all of them are done, or none.

    Attributes:
        number: number of the change in its journal.
        repair: description of the repair.
        moves: moves, in the order in which they are done.
    """

    number: int
    repair: str
    moves: tuple[Move, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The moves of each place in the data set, where a file is set aside, replaced, or new."""
        by_place: dict[Path, list[Move]] = {}
        for one in self.moves:
            by_place.setdefault(one.outside, []).append(one)
        return tuple(map(tuple, by_place.values()))
