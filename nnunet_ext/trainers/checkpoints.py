"""Contents of a checkpoint beside its weights: progress of the training, and the record of our trainers."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ext.files.whole import written_whole
from nnunet_ext.networks.checkpoint_file import KEY, read_checkpoint, replace_by_kept
from nnunet_ext.trainers.policies.continuation import FoldCases

WEIGHTS = "trained_weights"  # key in the record


@dataclass(frozen=True, order=True)
class Progress:
    """Progress of a training; of two checkpoints, a continued training takes that of greater progress.

    Attributes:
        started: start of the first epoch in seconds since 1970. It identifies the training: it stays when
            the training is continued, and a training begun anew in the same folder has a later one.
        epoch: number of epochs done.
    """

    started: float
    epoch: int

    @classmethod
    def of(cls, logging: Mapping[str, list[Any]], epoch: int) -> Progress:
        """Read the progress from nnU-Net's logged history and the number of epochs done."""
        starts = logging.get("epoch_start_timestamps", [])
        return cls(float(starts[0]) if starts else -math.inf, epoch)


@dataclass(frozen=True)
class BegunEpoch:
    """The part of an epoch that was done when a checkpoint was written within it.

    Attributes:
        epoch: number of the epoch, from 0.
        losses: training loss of each iteration that was done.
        elapsed_s: seconds since the epoch began.
    """

    epoch: int
    losses: tuple[Any, ...]
    elapsed_s: float

    def plain(self) -> dict[str, Any]:
        """Convert to plain values."""
        return {"epoch": self.epoch, "losses": list(self.losses), "elapsed_s": self.elapsed_s}


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord:
    """What our trainers record in a checkpoint; each class of a trainer fills in its part.

    Attributes:
        version: version of this package; None in a checkpoint of nnU-Net's own trainers.
        settings: values of the settings by name.
        stop_reason: why the training ended before its last epoch; None where it did not.
        counted_from: epoch from which the epochs without a rise of the Dice are counted.
        split: cases of the fold.
        versions: versions of the packages by name.
        random_states: states of the random number generators.
        begun_epoch: the epoch within which the checkpoint was written; None between two epochs.
        n_averaged: number of steps in the average of the weights; None without an average.
        trained_weights: weights of the last step, beside the averaged ones; None without an average.
    """

    version: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    stop_reason: str | None = None
    counted_from: int = 0
    split: FoldCases | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    random_states: dict[str, Any] | None = None
    begun_epoch: BegunEpoch | None = None
    n_averaged: int | None = None
    trained_weights: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """Convert to plain values and tensors, which can be read where this package is not installed."""
        optional = {
            "split": self.split.record() if self.split is not None else None,
            "versions": dict(self.versions) or None,
            "random_states": self.random_states,
            "epoch_begun": self.begun_epoch.plain() if self.begun_epoch is not None else None,
            "n_averaged": self.n_averaged,
            WEIGHTS: self.trained_weights,
        }
        return {
            "version": self.version,
            "settings": dict(self.settings),
            "stop_reason": self.stop_reason,
            "counted_from": self.counted_from,
            **{key: value for key, value in optional.items() if value is not None},
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> CheckpointRecord:
        """Read the record from plain values, without the trained weights; missing values have defaults."""
        split, begun = content.get("split"), content.get("epoch_begun")
        return cls(
            version=content.get("version"),
            settings=content.get("settings", {}),
            stop_reason=content.get("stop_reason"),
            counted_from=content.get("counted_from", 0),
            split=FoldCases.from_record(split) if split is not None else None,
            versions=content.get("versions", {}),
            random_states=content.get("random_states"),
            begun_epoch=BegunEpoch(begun["epoch"], tuple(begun["losses"]), begun["elapsed_s"])
            if begun is not None
            else None,
            n_averaged=content.get("n_averaged"),
        )


@dataclass(frozen=True)
class CheckpointSummary:
    """A checkpoint without its weights.

    Attributes:
        path: its file.
        progress: progress of the training that wrote it.
        record: record of our trainer; all defaults in a checkpoint of nnU-Net's own trainers.
        init_args: arguments of the trainer that wrote it.
    """

    path: Path
    progress: Progress
    record: CheckpointRecord = field(default_factory=CheckpointRecord)
    init_args: dict[str, Any] = field(default_factory=dict)


def read_checkpoint_summary(path: Path) -> CheckpointSummary | None:
    """Read a checkpoint without its weights; None where there is no such file.

    A newer checkpoint that had to be kept beside this one is renamed to its name first.

    Raises:
        NnunetExtError: the checkpoint is damaged.
    """
    replace_by_kept(path)
    if not path.is_file():
        return None
    content = read_checkpoint(path, mapped=True)
    progress = Progress.of(content["logging"], content["current_epoch"])
    record = CheckpointRecord.of(content.get(KEY, {}))
    return CheckpointSummary(path, progress, record, content.get("init_args", {}))


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Keep a file through a block that deletes it; a file that does not exist stays missing."""
    if not path.is_file():
        yield
        return
    with written_whole(path) as part:
        shutil.copyfile(path, part)
        yield
