"""What checkpoints say beside their weights: how far the training was that wrote one."""

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

WEIGHTS = "trained_weights"  # beside the averaged ones, in what this package records


@dataclass(frozen=True, order=True)
class Progress:
    """How far a training was; the greater of two is to be continued.

    Attributes:
        started: when its first epoch began, in seconds since 1970. This is a training's identity: it
            stays when a run is resumed, and a run begun anew in the same folder has a later one.
        epoch: epochs done.
    """

    started: float
    epoch: int

    @classmethod
    def of(cls, logging: Mapping[str, list[Any]], epoch: int) -> Progress:
        """Progress from nnU-Net's logged history and the number of epochs done."""
        starts = logging.get("epoch_start_timestamps", [])
        return cls(float(starts[0]) if starts else -math.inf, epoch)


@dataclass(frozen=True)
class Summary:
    """What a checkpoint says beside its tensors.

    Attributes:
        progress: how far the training was.
        record: what this package wrote into it, without weights; empty in nnU-Net's own checkpoints.
        init_args: what the trainer that wrote it was made with.
    """

    progress: Progress
    record: dict[str, Any] = field(default_factory=dict)
    init_args: dict[str, Any] = field(default_factory=dict)


def read_summary(path: Path) -> Summary | None:
    """What a checkpoint says beside its tensors; None where there is no such file.

    Where a newer one could not be given its name and was kept beside it, that is done first.

    Raises:
        NnunetExtError: the file is damaged.
    """
    replace_by_kept(path)
    if not path.is_file():
        return None
    content = read_checkpoint(path, mapped=True)
    record = {key: value for key, value in content.get(KEY, {}).items() if key != WEIGHTS}
    progress = Progress.of(content["logging"], content["current_epoch"])
    return Summary(progress, record, content.get("init_args", {}))


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Keep a file through a block that deletes it; where there is none, there is none afterwards."""
    if not path.is_file():
        yield
        return
    with written_whole(path) as part:
        shutil.copyfile(path, part)
        yield
