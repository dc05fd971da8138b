"""What the workers of `pytest -n` make once and share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A copy, of this worker alone, of a folder that the first worker to ask for it makes.

    Args:
        factory: of temporary folders.
        name: of the folder, the same for all workers.
        make: fills the folder, which is there and empty.
    """
    own = factory.mktemp(name)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        make(own)
        return own
    from filelock import FileLock

    folder = factory.getbasetemp().parent / f"shared_{name}"
    done = folder.with_name(f"{folder.name}.done")
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    shutil.copytree(folder, own, dirs_exist_ok=True)
    return own
