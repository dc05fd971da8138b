"""Compares the compact store with numpy's npz: writing, reading, size, and voxels that change their label.

    python benchmarks/store.py                     # generated, confident: 4 x 128 x 256 x 256
    python benchmarks/store.py -i FOLDER [FOLDER]  # any folders of nnU-Net's probabilities

Both ways write and read the same array through the same file system, in turn; the first pair is a warm-up.
Writing is `np.savez_compressed`, as in nnU-Net, against `write_array`; reading `np.load` against
`StoredProbabilities.read`, which checks every byte. Prints medians of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from scipy.ndimage import zoom

from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.store import StoredProbabilities
from nnunet_ext.probabilities.store_format import ERROR_BOUND, STEP
from nnunet_ext.probabilities.store_writer import write_array


def main() -> int:
    """Parse, generate or find, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-i", type=Path, nargs="+", metavar="FOLDER", help="folders of npz to measure")
    parser.add_argument("--shape", type=int, nargs=3, default=[128, 256, 256], metavar=("Z", "Y", "X"))
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    work = Path(tempfile.mkdtemp(prefix="nnunet_ext_store_"))
    try:
        for folder in args.i or []:
            measure_folder(folder, work, args)
        if not args.i:
            print(f"generated, confident, {args.labels} x {args.shape}")
            rows = measure(confident(args.labels, args.shape), work, args)
            print_ratios([rows])
    finally:
        shutil.rmtree(work)
    return 0


def confident(n_labels: int, shape: list[int]) -> np.ndarray:
    """Probabilities like those of a trained network: nine voxels of ten are certain."""
    rng = np.random.default_rng(0)
    logits = np.stack([smooth(rng, shape, 9) * 30 + smooth(rng, shape, 16) * 3 for _ in range(n_labels)])
    logits[0] += 45
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    return logits / logits.sum(axis=0)


def smooth(rng: np.random.Generator, shape: list[int], coarse: int) -> np.ndarray:
    """A smooth float32 field."""
    field = rng.standard_normal((coarse,) * 3)
    return zoom(field, [size / coarse for size in shape], order=1).astype(np.float32)


def measure_folder(folder: Path, work: Path, args: argparse.Namespace) -> None:
    """Measure every npz of a folder, and print the ratios of all."""
    files = sorted(path for path in folder.glob("*.npz") if not path.name.startswith("."))
    if not files:
        raise SystemExit(f"{folder} holds no npz")
    print(f"{folder}: {len(files)} cases")
    print_ratios([measure(np.load(file)["probabilities"], work, args) for file in files])


def measure(p: np.ndarray, work: Path, args: argparse.Namespace) -> dict[str, float]:
    """Write and read an array in both formats in turn; returns the ratios of npz to store."""
    npz, store = work / "case.npz", work / "case.b2nd"
    names = tuple(f"label_{value}" for value in range(len(p)))
    about = About(Labels(names, tuple(range(len(p))), tuple((value,) for value in range(len(p)))))
    pairs: dict[str, list[tuple[float, float]]] = {"written": [], "read": []}
    for repeat in range(args.repeats + 1):
        for path in (npz, store):
            path.unlink(missing_ok=True)  # a disk takes longer to replace a file than to write one
        written = (
            seconds(lambda: np.savez_compressed(npz, probabilities=p)),
            seconds(lambda: write_array(store, p, about)),
        )
        read = (
            seconds(lambda: np.load(npz)["probabilities"]),
            seconds(lambda: StoredProbabilities(store).read()),
        )
        if repeat:
            pairs["written"].append(written)
            pairs["read"].append(read)
    error, changed = check(p, StoredProbabilities(store).read())
    for what, times in pairs.items():
        of_npz, of_store = (statistics.median(t) for t in zip(*times, strict=True))
        print(f"  {what:8} npz {of_npz:8.4f} s   store {of_store:8.4f} s   {p.nbytes / 2**20:.1f} MiB")
    return {
        "smaller": npz.stat().st_size / store.stat().st_size,
        "written faster": statistics.median(a / b for a, b in pairs["written"]),
        "read faster": statistics.median(a / b for a, b in pairs["read"]),
        "largest error": error,
        "voxels changed": changed,
    }


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def check(before: np.ndarray, after: np.ndarray) -> tuple[float, int]:
    """The largest error and the number of changed voxels; exits where the documented bound is exceeded."""
    error = float(np.abs(before.astype(np.float64) - after).max())
    changed = before.argmax(axis=0) != after.argmax(axis=0)
    second, best = np.sort(before[:, changed].astype(np.float64), axis=0)[-2:]
    if error > ERROR_BOUND or (best - second > STEP + 2**-22).any():
        raise SystemExit(f"the bound is broken: error {error}, labels apart by {np.max(best - second)}")
    return error, int(changed.sum())


def print_ratios(cases: list[dict[str, float]]) -> None:
    """Medians over the cases, the worst error, and the sum of changed voxels."""
    error, changed = max(c["largest error"] for c in cases), sum(c["voxels changed"] for c in cases)
    smaller, written, read = (
        statistics.median(case[name] for case in cases)
        for name in ("smaller", "written faster", "read faster")
    )
    print(
        f"ratio    {smaller:.1f} x smaller, {written:.1f} x faster written, {read:.1f} x faster read; "
        f"largest error {error:.2g}, {changed:.0f} voxels changed"
    )


if __name__ == "__main__":
    sys.exit(main())
