"""The folders of a data set, whose files alone repairs may move."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.raw import QUARANTINE


@dataclass(frozen=True)
class OwnFolders:
    """The existing folders of a data set, raw, preprocessed and results, with links to them followed."""

    parts: tuple[Path, ...]

    @classmethod
    def of(cls, folders: DatasetFolders) -> OwnFolders:
        """The own folders of a data set."""
        parts = (folders.raw, folders.preprocessed, folders.results)
        return cls(tuple(real(part) for part in parts if part and part.is_dir()))

    def part_of(self, path: Path) -> Path | None:
        """The folder of the data set that a path is in; None where it is elsewhere, or in the quarantine.

        A link in the data set is its own, whatever it leads to; a file in a folder that is a link to another
        place is not.
        """
        place = real_place(path)
        part = next((part for part in self.parts if part in place.parents), None)
        return None if part is None or (part / QUARANTINE) in (place, *place.parents) else part

    def place_of(self, path: Path, part: Path) -> Path:
        """The path relative to a folder of the data set, with links in its folders followed."""
        return real_place(path).relative_to(part)


def real(path: Path) -> Path:
    """A path with all links followed and without `..`."""
    return Path(os.path.realpath(path))


def real_place(path: Path) -> Path:
    """A path with links in its folders followed, but not a link at its end."""
    named = Path(os.path.abspath(path))  # noqa: PTH100, a name that ends in `..` is no name
    return real(named.parent) / named.name


def is_there(path: Path) -> bool:
    """Whether a path exists, as a broken link does, too."""
    return os.path.lexists(path)
