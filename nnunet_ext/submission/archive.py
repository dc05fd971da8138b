"""A flat zip whose bytes depend on nothing but its files."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from nnunet_ext.files import CHUNK_BYTES

EARLIEST = (1980, 1, 1, 0, 0, 0)
UNIX = 3
READABLE_FILE = 0o100644 << 16


def write_archive(files: Iterable[Path], target: Path) -> None:
    """Write files, by name and without folders, into a zip.

    Time stamps, permissions and the system's mark are fixed and the order is that of the names, so
    the same files give the same bytes on every machine. Images are stored as they are: their
    formats are compressed already.

    Args:
        files: of names that differ.
        target: the zip; give a temporary path and move it to its name once it is verified.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files, key=lambda path: path.name):
            entry = zipfile.ZipInfo(path.name, EARLIEST)
            entry.create_system = UNIX
            entry.external_attr = READABLE_FILE
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=False) as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)
