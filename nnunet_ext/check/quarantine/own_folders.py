"""Which files are a data set's own: repairs move these and no others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.raw import QUARANTINE


@dataclass(frozen=True)
class OwnFolders:
    """The folders of a data set that are there, links to them followed: raw, preprocessed, results."""

    parts: tuple[Path, ...]

    @classmethod
    def of(cls, folders: DatasetFolders) -> OwnFolders:
        """Those of a data set."""
        parts = (folders.raw, folders.preprocessed, folders.results)
        return cls(tuple(real(part) for part in parts if part and part.is_dir()))

    def part_of(self, path: Path) -> Path | None:
        """The folder that a file or link lies in; None where it lies elsewhere, or in the quarantine.

        A link that lies in the data set is its own, whatever it leads to; what lies in a folder that
        is a link to another place is not.
        """
        place = real_place(path)
        part = next((part for part in self.parts if part in place.parents), None)
        return None if part is None or (part / QUARANTINE) in (place, *place.parents) else part

    def place_of(self, path: Path, part: Path) -> Path:
        """The path below the part, links in its folders followed."""
        return real_place(path).relative_to(part)


def real(path: Path) -> Path:
    """A folder without links and without `..`."""
    return Path(os.path.realpath(path))


def real_place(path: Path) -> Path:
    """Where a file or link itself lies: links are followed in its folders, not at its end."""
    named = Path(os.path.abspath(path))  # noqa: PTH100, a name that ends in `..` is no name
    return real(named.parent) / named.name


def is_there(path: Path) -> bool:
    """Whether something lies there, be it a link that leads nowhere."""
    return os.path.lexists(path)
