"""Unpacks wheels into a folder of packages, and works around functions that wine 8 lacks.

python windows_unpack.py WHEELS PACKAGES
"""

import shutil
import sys
import zipfile
from pathlib import Path

CHUNK_BYTES = 1 << 20
# Python crashes in wine's version of each of these functions.
SITECUSTOMIZE = """\
import os


def _getppid():
    import psutil

    return psutil.Process().ppid()


os.getppid = _getppid
try:
    import _winapi

    del _winapi.CopyFile2
except (ImportError, AttributeError):
    pass
"""
PSUTIL_BEFORE = "    if is_permission_err(exc):"
# Wine's error when the name of a process is asked for.
PSUTIL_ADDED = "    if getattr(exc, 'winerror', 0) == 87:\n        return AccessDenied(pid=pid, name=name)\n"


def unpack(wheel: Path, packages: Path) -> None:
    """Write the files of a wheel to where pip would write them."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            parts = entry.filename.split("/")
            if parts[0].endswith(".data"):
                if parts[1] not in {"purelib", "platlib"}:
                    continue
                parts = parts[2:]
            if entry.is_dir():
                continue
            target = packages.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)


def main(wheels: Path, packages: Path) -> None:
    """Unpack all wheels of a folder, and add the workarounds."""
    for wheel in sorted(wheels.glob("*.whl")):
        unpack(wheel, packages)
    (packages / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="ascii")
    psutil = packages / "psutil" / "_pswindows.py"
    source = psutil.read_text(encoding="utf-8")
    at = source.index(PSUTIL_BEFORE, source.index("def convert_oserror"))
    psutil.write_text(source[:at] + PSUTIL_ADDED + source[at:], encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
