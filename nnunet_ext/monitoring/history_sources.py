"""The history of a fold, read from its history.csv and checkpoints and merged with that of its logs."""

from __future__ import annotations

import csv
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DatasetError
from nnunet_ext.files.documents import read_json, read_text
from nnunet_ext.nnunet.dataset_json import Labels, labels_of
from nnunet_ext.nnunet.history import Epoch, History, epoch_differences, joined_epochs
from nnunet_ext.nnunet.training_log import Log

RECORD = "nnunet_ext"  # key under which our trainers keep their settings in a checkpoint
NUMBER, BEFORE_LABELS, AFTER_LABELS = "epoch", "dice_average", "learning_rate"
DEFAULT_EPOCHS = 1000


@dataclass(frozen=True, kw_only=True)
class HistorySource:
    """The history that one file holds.

    Attributes:
        epochs: in rising order; empty where the file could not be read.
        labels: their names; empty where the file does not hold them.
        planned: the number of epochs planned; None where the file does not hold it.
        stop_reason: why the training ended before its last epoch; None where the file does not tell.
        notes: what could not be read.
    """

    epochs: tuple[Epoch, ...] = ()
    labels: tuple[str, ...] = ()
    planned: int | None = None
    stop_reason: str | None = None
    notes: tuple[str, ...] = ()


def read_history_csv(path: Path) -> HistorySource:
    """Read the history.csv of our trainers; of two rows of one epoch the later one counts.

    Every label has the column `dice_NAME` between `dice_average` and `learning_rate`. A last row without
    its line end is still being written and is left out.
    """
    try:
        text = read_text(path)
        whole_lines = text.split("\n")[:-1]
        header, n_lines = _header(whole_lines)
    except (OSError, ValueError) as error:
        return HistorySource(notes=(f"{path.name} cannot be read: {error}",))
    missing = [name for name in (NUMBER, BEFORE_LABELS, AFTER_LABELS) if name not in header]
    if missing:
        return HistorySource(notes=(f"{path.name} has no columns {', '.join(missing)}",))
    first, last = header.index(BEFORE_LABELS) + 1, header.index(AFTER_LABELS)
    labels = tuple(name.removeprefix("dice_") for name in header[first:last])
    epochs: list[Epoch] = []
    notes = []
    for number, line in enumerate(whole_lines[n_lines:], start=n_lines + 1):
        if not line.strip():
            continue
        try:
            row = _cells(line)
            epoch = _epoch_of_row(dict(zip(header, row, strict=True)), row[first:last])
        except ValueError as error:
            notes.append(f"{path.name}, line {number} cannot be read: {error}")
            continue
        if epochs and epochs[-1].number >= epoch.number:
            epochs = [one for one in epochs if one.number < epoch.number]
        epochs.append(epoch)
    return HistorySource(epochs=tuple(epochs), labels=labels, notes=tuple(notes))


def _header(lines: Sequence[str]) -> tuple[list[str], int]:
    """The first row and its number of lines, as the name of a label may hold a line end."""
    reader = csv.reader(lines)
    try:
        return next(filter(None, reader), []), reader.line_num
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _cells(line: str) -> list[str]:
    """The cells of one line, read by itself so that a damaged line spoils no other."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _epoch_of_row(row: Mapping[str, str], dice: Sequence[str]) -> Epoch:
    return Epoch(
        number=int(row[NUMBER]),
        train_loss=_cell(row.get("train_loss", "")),
        val_loss=_cell(row.get("val_loss", "")),
        dice=tuple(map(_cell, dice)),
        learning_rate=_cell(row.get("learning_rate", "")),
        seconds=_cell(row.get("seconds", "")),
        average=_cell(row[BEFORE_LABELS]),
    )


def _cell(text: str) -> float | None:
    return _finite(float(text)) if text.strip() else None


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, numbers.Real) and math.isfinite(value)
    return float(value) if is_number else None


def read_checkpoint_history(path: Path) -> HistorySource:
    """Read the history in a checkpoint of nnU-Net v2 or of our trainers, without its tensors.

    A file that cannot be read gives no epochs and a note.
    """
    from nnunet_ext.nnunet.checkpoint import read_plain_checkpoint  # numpy, not needed by --help

    try:
        content = read_plain_checkpoint(path)
        logging = content["logging"]
        n_epochs = int(content["current_epoch"])
        epochs = _epochs_of(logging, n_epochs)
    except Exception as error:  # a damaged pickle may raise any error
        return HistorySource(notes=(f"{path.name} cannot be read: {type(error).__name__}: {error}",))
    recorded = content.get(RECORD)
    record = recorded if isinstance(recorded, dict) else {}
    settings = record.get("settings")
    planned = settings.get("n_epochs") if isinstance(settings, dict) else None
    reason = record.get("stop_reason")
    return HistorySource(
        epochs=epochs,
        labels=_label_names(content),
        planned=planned if isinstance(planned, int) else None,
        stop_reason=reason if isinstance(reason, str) else None,
    )


def _epochs_of(logging: Mapping[str, Any], n_epochs: int) -> tuple[Epoch, ...]:
    def column(name: str) -> list[Any]:
        values = logging.get(name)
        known = list(values) if isinstance(values, list) else []
        return [*known, *[None] * (n_epochs - len(known))][:n_epochs]

    starts, ends = column("epoch_start_timestamps"), column("epoch_end_timestamps")
    names = ("train_losses", "val_losses", "dice_per_class_or_region", "lrs", "ema_fg_dice")
    columns = zip(*map(column, names), starts, ends, strict=True)
    return tuple(
        Epoch(
            number=number,
            train_loss=_finite(train_loss),
            val_loss=_finite(val_loss),
            dice=tuple(map(_finite, dice)) if isinstance(dice, list) else (),
            learning_rate=_finite(rate),
            seconds=_seconds(start, end),
            average=_finite(average),
        )
        for number, (train_loss, val_loss, dice, rate, average, start, end) in enumerate(columns)
    )


def _seconds(start: Any, end: Any) -> float | None:
    began, ended = _finite(start), _finite(end)
    return None if began is None or ended is None else ended - began


def _label_names(content: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        labels = labels_of(content["init_args"]["dataset_json"])
    except (DatasetError, KeyError, TypeError, ValueError, AttributeError):
        return ()
    return tuple(labels.names[i] for i in labels.foreground)


def read_debug_json(path: Path) -> tuple[int | None, str | None]:
    """Read the planned epochs and the machine's name from nnU-Net's debug.json; None where unknown."""
    try:
        content = read_json(path)
        n_epochs, host = str(content.get("num_epochs")), content.get("hostname")
    except (ValueError, AttributeError):
        return None, None
    planned = int(n_epochs) if re.fullmatch("[0-9]{1,7}", n_epochs) else None
    return planned, host if isinstance(host, str) else None


def planned_by_name(trainer: str) -> int | None:
    """The number of epochs in a trainer's name, as in nnUNetTrainer_100epochs; None where unknown."""
    match = re.fullmatch(r"nnUNetTrainer_(\d+)epochs?", trainer)
    if match:
        return int(match[1])
    return DEFAULT_EPOCHS if trainer == "nnUNetTrainer" else None


SHOWN_DIFFERENCES = 3


def merge_sources(log: Log, exact: HistorySource, labels: Labels | None) -> tuple[History, tuple[str, ...]]:
    """Merge the history of the logs with that of a file that holds exact values.

    Args:
        log: the logs' history, whose values are rounded.
        exact: the file's history. Its values are taken where the two agree; where they do not, those of the
            log are, and of the file only the epochs before the log's first.
        labels: the data set's labels; None where they cannot be read.

    Returns:
        The history, and notes on what could not be read and where the two differ.
    """
    notes = [*log.notes, *exact.notes]
    if log.is_version_1:
        notes.append("this is a log of nnU-Net v1, which is not read")
    found = epoch_differences(log.epochs, exact.epochs)
    if found:
        more = f" and {len(found) - SHOWN_DIFFERENCES} more" if len(found) > SHOWN_DIFFERENCES else ""
        shown = "; ".join(found[:SHOWN_DIFFERENCES])
        notes.append(f"the log and the file beside it differ, and the log is used: {shown}{more}")
        first = log.epochs[0].number
        epochs = joined_epochs((epoch for epoch in exact.epochs if epoch.number < first), log.epochs)
    else:
        epochs = joined_epochs(log.epochs, exact.epochs)
    names, note = _names(epochs, exact.labels, labels)
    return History(names, epochs, log.judged_best), (*notes, *note)


def _names(
    epochs: tuple[Epoch, ...], recorded: tuple[str, ...], labels: Labels | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the labels; their numbers where no list of names is as long as an epoch's values."""
    own = () if labels is None else tuple(labels.names[i] for i in labels.foreground)
    n_values = max((len(epoch.dice) for epoch in epochs), default=len(own or recorded))
    for names in (own, recorded):
        if len(names) == n_values:
            return names, ()
    numbered = tuple(str(i + 1) for i in range(n_values))
    if not own:
        return numbered, ()
    return numbered, (f"the logs hold {n_values} Dice an epoch, but dataset.json {len(own)} labels",)
