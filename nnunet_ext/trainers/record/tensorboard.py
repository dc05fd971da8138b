"""The history for TensorBoard, written by one of nnU-Net's loggers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.record.history import DICE

FOLDER = "tensorboard"
# Names for nnU-Net's keys. Its moving average, logged before NaN is repaired, is replaced by `dice_average`.
COLUMNS = {
    "train_losses": "train_loss",
    "val_losses": "val_loss",
    "mean_fg_dice": "dice_mean",
    "lrs": "learning_rate",
}
LABEL_KEY = "dice_per_class_or_region/class_"
NOT_SHOWN = ("ema_fg_dice", "epoch_start_timestamps", "epoch_end_timestamps")


def check_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        SettingsError: it is not installed.
    """
    if find_spec("tensorboard") is None:
        raise SettingsError(
            "tensorboard is set, but TensorBoard is not installed: pip install nnunet-ext[tensorboard], "
            "or leave the setting out."
        )


class TensorBoardLogger:
    """Logger for nnU-Net's `MetaLogger` that writes event files.

    An error of writing is reported once and raises nothing, because it must not end the training.

    Args:
        folder: folder of the files.
        labels: names of the labels or regions in the order of nnU-Net's Dice.
        first_epoch: first epoch to be logged; older files' values from this epoch on are hidden.
        say: called with the reason where no more is written.
    """

    def __init__(
        self, folder: Path, labels: Sequence[str], first_epoch: int, say: Callable[[str], None]
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._labels, self._say = labels, say
        self._last_step = first_epoch
        self._writer: Any = SummaryWriter(str(folder), purge_step=first_epoch)

    def log(self, key: str, value: Any, step: int) -> None:
        """Write one value of an epoch; NaN leaves a gap."""
        with self._logged_if_it_fails():
            if key not in NOT_SHOWN and math.isfinite(value) and self._writer is not None:
                self._last_step = step
                self._writer.add_scalar(tag_of(self._column(key)), float(value), step)

    def log_summary(self, key: str, value: Any) -> None:
        """Write a single value, such as the Dice of the final validation, at the last epoch."""
        self.log(key, value, self._last_step)
        self.flush()

    def update_config(self, config: dict[str, Any]) -> None:
        """Write a text for each part of the configuration."""
        with self._logged_if_it_fails():
            for name, part in config.items() if self._writer is not None else ():
                text = json.dumps(part, indent=2, ensure_ascii=False, default=str)
                self._writer.add_text(name, f"```json\n{text}\n```", self._last_step)
        self.flush()

    def flush(self) -> None:
        """Write all to the disk, because the process may be killed at any time."""
        with self._logged_if_it_fails():
            if self._writer is not None:
                self._writer.flush()

    @contextmanager
    def _logged_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # no error here must end the training
            self._writer = None
            self._say(f"Nothing more is written for TensorBoard: {type(error).__name__}: {error}")

    def _column(self, key: str) -> str:
        number = key.removeprefix(LABEL_KEY)
        if number != key and number.isdecimal() and int(number) <= len(self._labels):
            return DICE + self._labels[int(number) - 1]
        return COLUMNS.get(key, key)


def tag_of(column: str) -> str:
    """Make the tag of a column of the history; its part before the slash groups losses and Dice."""
    if column.startswith(DICE):
        return "dice/" + column.removeprefix(DICE)
    if column.endswith("_loss"):
        return "loss/" + column.removesuffix("_loss")
    return column
