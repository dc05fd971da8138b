"""A small planned data set in nnU-Net's folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import raw_sets

os.environ.setdefault("nnUNet_def_n_proc", "1")  # read by nnU-Net as it is imported

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")


@pytest.fixture
def isotropic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The preprocessed folder of a data set with plans."""
    for name, value in raw_sets.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return raw_sets.write_set(tmp_path, raw_sets.KINDS["isotropic"])
