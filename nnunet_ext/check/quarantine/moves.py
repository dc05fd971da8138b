"""Files on their way into the quarantine and out of it, and the changes that such moves make up."""

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
    """What tells a file, folder or link from another one in its place.

    Attributes:
        kind: `file`, `folder` or `link`.
        n_bytes: of a file.
        modified_ns: of a file.
        sha256: of a file that a repair made; None of others.
        leads_to: the text of a link.
    """

    kind: str
    n_bytes: int | None = None
    modified_ns: int | None = None
    sha256: str | None = None
    leads_to: str | None = None

    @classmethod
    def at(cls, path: Path, *, hashed: bool = False) -> Look:
        """What lies there now.

        Raises:
            OSError: nothing does, or it cannot be looked at.
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
        """Whether this is what lies there."""
        return is_there(path) and Look.at(path, hashed=self.sha256 is not None) == self


@dataclass(frozen=True)
class Move:
    """A file on its way between its place in the data set and the quarantine, on one disk.

    Attributes:
        outside: its place in the data set.
        inside: its place in the quarantine, where nothing else ever lies.
        goes_in: into the quarantine; a file that a repair made goes out of it.
        look: of what is moved; None in journals of version 1.
    """

    outside: Path
    inside: Path
    goes_in: bool
    look: Look | None = None

    @property
    def is_done(self) -> bool:
        """Whether it was moved, as far as the quarantine tells."""
        return is_there(self.inside) == self.goes_in

    def do(self) -> None:
        """Move it.

        Raises:
            OSError: it cannot be moved, and lies where it lay.
        """
        _move(*((self.outside, self.inside) if self.goes_in else (self.inside, self.outside)))

    def take_back(self) -> None:
        """Move it back; otherwise as `do`."""
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
        """What `as_json` was called on.

        Raises:
            KeyError, TypeError: it is something else.
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
        number: of the change in its journal.
        repair: in words.
        moves: in the order in which they are done.
    """

    number: int
    repair: str
    moves: tuple[Move, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The moves by their place: a file that is set aside, or replaced, or new."""
        by_place: dict[Path, list[Move]] = {}
        for one in self.moves:
            by_place.setdefault(one.outside, []).append(one)
        return tuple(map(tuple, by_place.values()))
