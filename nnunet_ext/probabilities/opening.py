"""The two kinds of files of probabilities, told apart by their endings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from nnunet_ext.errors import UsageError
from nnunet_ext.probabilities.npz import NpzProbabilities
from nnunet_ext.probabilities.store import StoredProbabilities
from nnunet_ext.probabilities.stream import Probabilities

NPZ = ".npz"
STORE = ".b2nd"
ENDINGS = (NPZ, STORE)
KIND_VARIABLE = "nnUNet_probabilities"
Kind = Literal["store", "npz"]


def kind_to_write(environment: Mapping[str, str]) -> Kind:
    """Return the kind of file to keep probabilities in: the store, unless `nnUNet_probabilities` is npz.

    Raises:
        UsageError: it says something else.
    """
    asked = environment.get(KIND_VARIABLE, "").strip().lower()
    if asked == "npz":
        return "npz"
    if asked in ("", "store"):
        return "store"
    raise UsageError(f"{KIND_VARIABLE} is {asked!r}; it is store or npz.")


def open_probabilities(path: Path) -> Probabilities:
    """Open nnU-Net's npz or a file of the compact store; both are read the same way.

    Raises:
        ProbabilitiesError: the file is missing, damaged, or holds no probabilities.
    """
    return StoredProbabilities(path) if path.name.endswith(STORE) else NpzProbabilities(path)
