"""Measures the reading of training logs: one log against its bytes, and 60 runs by `nnunet_ext results`."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nnunet_ext.monitoring.history_sources import read_history_csv
from nnunet_ext.nnunet.training_log import LogParser, parse_log

LABELS = ("myocardium", "left_ventricle", "right_ventricle")
LOG_NAME = "training_log_2026_11_21_23_25_50.txt"


def log_text(n_epochs: int, seed: int) -> str:
    """A log of one of our trainers, with a number of epochs of three labels."""
    chance = random.Random(seed)
    lines = [f"n_epochs = {n_epochs} (environment nnUNet_n_epochs) "]

    def say(message: str) -> None:
        lines.append(f"2026-11-21 23:25:{chance.randrange(60):02d}.{chance.randrange(10**6):06d}: {message} ")

    for epoch in range(n_epochs):
        dice = ", ".join(f"np.float32({chance.random():.4f})" for _ in LABELS)
        for message in ("", f"Epoch {epoch}", f"Current learning rate: {0.01 * 0.997**epoch:.5f}"):
            say(message)
        for name in ("train_loss", "val_loss"):
            say(f"{name} {chance.random():.4f}")
        for message in (f"Pseudo dice [{dice}]", f"Epoch time: {chance.uniform(90, 120):.2f} s"):
            say(message)
        if chance.random() < 0.3:
            say(f"Yayy! New best EMA pseudo Dice: {chance.random():.4f}")
        say("Early stopping: best 0.8430 at epoch 3, 1 of 50 epochs without a rise")
    return "\n".join(lines) + "\n"


def write_runs(results: Path, n_runs: int, n_epochs: int) -> None:
    """Write a number of folds, five for each model."""
    text = log_text(n_epochs, 0)
    for i in range(n_runs):
        model = results / "Dataset001_Heart" / f"nnUNetTrainerExt_ep{n_epochs}_pat{i // 5}__nnUNetPlans__2d"
        fold = model / f"fold_{i % 5}"
        fold.mkdir(parents=True)
        (fold / LOG_NAME).write_text(text, encoding="utf-8")
        labels = {"background": 0, **{label: value for value, label in enumerate(LABELS, start=1)}}
        content = {"labels": labels, "file_ending": ".nii.gz"}
        (model / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def median_s(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def compare_one(folder: Path, n_epochs: int, repeats: int) -> None:
    """Measure one log read whole, line by line, and as bytes."""
    path = folder / LOG_NAME
    path.write_text(log_text(n_epochs, 1), encoding="utf-8")
    data = path.read_bytes()
    assert len(parse_log(data).epochs) == n_epochs
    assert by_lines(data) == parse_log(data), "read in one go and line by line it is not the same"
    bytes_s = median_s(path.read_bytes, repeats)
    whole_s = median_s(lambda: parse_log(path.read_bytes()), repeats)
    lines_s = median_s(lambda: by_lines(path.read_bytes()), repeats)
    print(f"{n_epochs} epochs, {len(data) / 1024:.0f} KiB; medians of {repeats}")
    print(f"  reading the bytes         {bytes_s * 1e3:8.2f} ms")
    print(f"  reading the log           {whole_s * 1e3:8.2f} ms, {whole_s / bytes_s:.0f} x the bytes")
    print(f"  reading it line by line   {lines_s * 1e3:8.2f} ms, {lines_s / whole_s:.1f} x the log")
    table = folder / "history.csv"
    table.write_text(table_text(data), encoding="utf-8")
    table_s = median_s(lambda: read_history_csv(table), repeats)
    print(f"  reading a history.csv     {table_s * 1e3:8.2f} ms")


def by_lines(data: bytes) -> object:
    """Read a log while it grows, line by line."""
    parser = LogParser()
    for line in data.splitlines(keepends=True):
        parser.feed(line)
    return parser.log()


def table_text(data: bytes) -> str:
    """Write the same history as history.csv."""
    rows = ["epoch,train_loss,val_loss,dice_mean,dice_average," + ",".join(LABELS) + ",learning_rate,seconds"]
    for one in parse_log(data).epochs:
        values = (one.number, one.train_loss, one.val_loss, one.dice_mean, one.dice_mean, *one.dice)
        rows.append(",".join(map(str, (*values, one.learning_rate, one.seconds))))
    return "\n".join(rows) + "\n"


def compare_many(folder: Path, n_runs: int, n_epochs: int, repeats: int) -> None:
    """Measure `nnunet_ext results` on many runs, against importing torch."""
    write_runs(folder, n_runs, n_epochs)
    command = [sys.executable, "-m", "nnunet_ext", "results", "-i", str(folder)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert sum(f"{n_epochs} of {n_epochs}" in line for line in lines) == n_runs
    torch = [sys.executable, "-c", "import torch"]
    ours_s, torch_s = (
        median_s(lambda one=one: subprocess.run(one, capture_output=True, check=True), repeats)
        for one in (command, torch)
    )
    print(f"{n_runs} runs of {n_epochs} epochs; medians of {repeats}")
    print(f"  nnunet_ext results        {ours_s:8.2f} s, {ours_s / torch_s:.2f} x the import")
    print(f"  importing torch           {torch_s:8.2f} s")


def main() -> None:
    """Parse the options and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare_one(Path(folder), args.epochs, args.repeats)
    for n_epochs in (args.epochs // 4, args.epochs):
        with tempfile.TemporaryDirectory() as folder:
            compare_many(Path(folder), args.runs, n_epochs, args.repeats)


if __name__ == "__main__":
    main()
