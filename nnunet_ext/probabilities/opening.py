"""Which kind a file of probabilities is, told by its ending."""

from __future__ import annotations

from pathlib import Path

from nnunet_ext.probabilities.stream import Probabilities

NPZ = ".npz"
STORE = ".b2nd"
ENDINGS = (NPZ, STORE)


def open_probabilities(path: Path, n_threads: int = 1) -> Probabilities:
    """Open nnU-Net's npz or a file of the compact store; both are read the same way.

    Args:
        path: the file.
        n_threads: that decompress side by side, where the kind allows it.

    Raises:
        ProbabilitiesError: the file is missing, damaged, or holds no probabilities.
    """
    if path.name.endswith(STORE):
        from nnunet_ext.probabilities.store import StoredProbabilities  # Blosc2 only where it is read

        return StoredProbabilities(path, n_threads)
    from nnunet_ext.probabilities.npz import NpzProbabilities

    return NpzProbabilities(path)
