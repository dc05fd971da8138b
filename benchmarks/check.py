"""`nnunet_ext check` against `gzip -t` on generated volumes.

    python benchmarks/check.py --megabytes 200 -np 2

Writes scans and labels once into a folder (`--megabytes` is their size on disk), makes sure that the check
finds nothing wrong with them and does find one flipped byte, runs the check and `gzip -t` over the same files
with as many processes in turn, and prints both speeds and their ratio.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from scipy.ndimage import gaussian_filter

from nnunet_ext.check.run import Check
from nnunet_ext.nnunet.folders import DatasetFolders

SHAPE = (96, 256, 256)
MB = 1e6


def main() -> int:
    """Parse, generate, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=200, help="of the data set on disk")
    parser.add_argument("-np", type=int, default=2, help="processes of either")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "nnunet_ext_benchmark_check"
    )
    args = parser.parse_args()
    folder = args.work / f"Dataset905_Check{args.megabytes:g}"
    if not (folder / "dataset.json").exists():
        generate(folder, args.megabytes)
    files = sorted(folder.rglob("*.nii.gz"))
    size = sum(path.stat().st_size for path in files) / MB
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    print(f"{len(files)} files, {size:.0f} MB on disk, {args.np} processes")
    prove(folder, args.np)
    ratios = []
    for _ in range(args.repeats):
        ours, theirs = run_check(folder, args.np), run_gzip(files, args.np)
        ratios.append(theirs / ours)
        print(
            f"check {ours:6.2f} s ({size / ours:6.1f} MB/s)   "
            f"gzip -t {theirs:6.2f} s ({size / theirs:6.1f} MB/s)"
        )
    print(f"ratio {statistics.median(ratios):.2f} x the speed of gzip -t (at least 0.5 is the aim)")
    return 0 if statistics.median(ratios) >= 0.5 else 1


def generate(folder: Path, megabytes: float) -> None:
    """Write cases of one scan and label until they reach a size; their noise compresses like that of CT."""
    import SimpleITK as sitk

    shutil.rmtree(folder, ignore_errors=True)
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    random = np.random.default_rng(2)
    organ = gaussian_filter(random.normal(size=SHAPE).astype(np.float32), 12)
    label = (organ > np.quantile(organ, 0.9)).astype(np.uint8)
    n_cases = 0
    while sum(path.stat().st_size for path in folder.rglob("*.nii.gz")) < megabytes * MB:
        scan = (random.normal(0, 25, SHAPE) + 100 * label).astype(np.int16)
        scan[:, :60] = -1024  # air
        for array, name in (
            (scan, f"imagesTr/c{n_cases:03d}_0000"),
            (np.roll(label, n_cases), f"labelsTr/c{n_cases:03d}"),
        ):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.nii.gz"), True)
        n_cases += 1
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": n_cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def prove(folder: Path, n_processes: int) -> None:
    """Check that no fault is found, and that a changed byte is."""
    report = Check(DatasetFolders(folder.name, folder, None, None), n_processes=n_processes).run()
    assert not report.findings, report.findings
    path = min(folder.rglob("*.nii.gz"), key=lambda p: p.stat().st_size)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    try:
        report = Check(DatasetFolders(folder.name, folder, None, None), n_processes=n_processes).run()
    finally:
        path.write_bytes(whole)
    assert [finding.kind for finding in report.findings] == ["damaged"], report.findings


def run_check(folder: Path, n_processes: int) -> float:
    """Seconds of the whole command, start and imports included."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "nnunet_ext", "check", "-i", str(folder), "-np", str(n_processes)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def run_gzip(files: list[Path], n_processes: int) -> float:
    """Seconds of `gzip -t` on all files, as many processes at a time as ours."""
    started = time.perf_counter()
    with ThreadPoolExecutor(n_processes) as pool:
        list(pool.map(lambda path: subprocess.run(["gzip", "-t", str(path)], check=True), files))
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
