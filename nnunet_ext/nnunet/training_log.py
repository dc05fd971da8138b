"""Training logs of nnU-Net 2.0 to 2.8, parsed as they grow."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from nnunet_ext.nnunet.history import Epoch
from nnunet_ext.nnunet.incremental_text import IncrementalText
from nnunet_ext.nnunet.log_lines import PLAIN_EPOCH, Failures, finite, parse_dice, read_plain_epoch

# "2024-04-21 15:19:52.712785: Epoch 3"; consoles may put a rank or a date of their own before it.
STAMP = re.compile(r"(?:.*?\s)?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?: (.*)", re.DOTALL)
STAMP_END = 26
COUNT = re.compile(r"[0-9]{1,9}")  # int() raises for thousands of digits
SETTING = re.compile(r"(\w+) = (.*) \((.+)\)\s*")
VERSION_1 = re.compile(r"train loss :|validation loss:|Average global foreground Dice:|This epoch took ")
SPLIT = re.compile(r"split has (\d{1,9}) training and (\d{1,9}) validation cases")
STOPPED = re.compile(r"Training stopped after (\d{1,9}) of (\d{1,9}) epochs by (.*?)\.?\s*")
INTERRUPTED = re.compile(r"Interrupted by (.*)\. .*; --c goes on from here\.\s*")
JUDGED_BEST = re.compile(r"best -?\d\.\d+ at epoch (\d{1,9})\b")
WAITED = re.compile(r"(\d{1,9}) of (\d{1,9}) epochs without a rise")
MAX_NOTES = 20


@dataclass(frozen=True, kw_only=True)
class Log:
    """Facts in the logs of one fold.

    Attributes:
        epochs: finished epochs; of an epoch that was trained twice, the later one.
        begun: number of an epoch that was begun and not finished.
        settings: value of each setting that the trainers of this package print, by name.
        stop_reason: why the training was stopped before its last epoch; None where it was not.
        interrupted: what interrupted the newest attempt, which can be continued; None where nothing did.
        judged_best: number of the best epoch by early stopping, which may use another average than nnU-Net.
        planned: number of epochs in all, where the log names it.
        waited: epochs without a rise, and how many early stopping allows.
        is_trained: whether the training came to its end.
        is_validated: whether nnU-Net's validation after the training came to its end.
        n_validation_cases: number of cases of that validation, where the log names it.
        n_predicted: number of cases whose prediction was begun in that validation.
        failure: last error message of a training that broke off; None where there is none.
        warning: last warning.
        is_version_1: whether the log is of nnU-Net v1, whose lines are not parsed.
        notes: lines that could not be parsed, and epochs that were trained again.
    """

    epochs: tuple[Epoch, ...] = ()
    begun: int | None = None
    settings: dict[str, str] = field(default_factory=dict)
    stop_reason: str | None = None
    interrupted: str | None = None
    judged_best: int | None = None
    planned: int | None = None
    waited: tuple[int, int] | None = None
    is_trained: bool = False
    is_validated: bool = False
    n_validation_cases: int | None = None
    n_predicted: int = 0
    failure: str | None = None
    warning: str | None = None
    is_version_1: bool = False
    notes: tuple[str, ...] = ()


def parse_log(data: bytes) -> Log:
    """Parse a whole log; bytes that are no log give an empty one."""
    parser = LogParser()
    parser.feed(data)
    return parser.log()


class LogParser:
    """Parses the logs of one fold, piece by piece as they are written, and one file after the other.

    A line counts once its line end is written, since a number that is cut off would be another number. An
    epoch counts once its last line, `Epoch time: … s`, is written. An epoch that begins again, as after a
    resume from an earlier checkpoint, replaces the later epochs, too.
    """

    def __init__(self) -> None:
        self._epochs: list[Epoch] = []
        self._begun: int | None = None
        self._values: dict[str, Any] = {}
        self._facts = Log()
        self._settings: dict[str, str] = {}
        self._early_stopping = ""
        self._notes: list[str] = []
        self.begin_file()

    def begin_file(self) -> None:
        """Begin another file; an unfinished last line of the file before it is dropped."""
        self._text = IncrementalText()
        self._set(interrupted=None)
        self._begun = None
        self._values = {}
        self._failures = Failures()

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the file."""
        self._read_text(self._text.add(data))
        tail = self._text.tail
        if "Epoch time: " in tail and tail.rstrip("\r ").endswith(" s"):
            self._read(tail)  # complete, since it ends in its unit; copied logs may lack the last line end
            self._text.tail = ""

    def log(self) -> Log:
        """Facts of all bytes so far."""
        waited = WAITED.search(self._early_stopping)
        best = JUDGED_BEST.search(self._early_stopping)
        return replace(
            self._facts,
            waited=(int(waited[1]), int(waited[2])) if waited else None,
            judged_best=int(best[1]) if best else None,
            epochs=tuple(self._epochs),
            begun=self._begun,
            settings=dict(self._settings),
            failure=self._failures.last_words(),
            is_version_1=self._facts.is_version_1 and not self._epochs,
            notes=tuple(self._notes),
        )

    def _read_text(self, text: str) -> None:
        """Parse whole lines."""
        end = 0
        for lines in PLAIN_EPOCH.finditer(text):
            self._read_lines(text[end : lines.start()])
            *values, early_stopping = lines.groups()
            epoch = read_plain_epoch(*values)
            if epoch is None:
                self._read_lines(lines[0])
            else:
                self._begin(epoch.number)
                self._add(epoch)
                self._early_stopping = early_stopping or self._early_stopping
            end = lines.end()
        self._read_lines(text[end:])

    def _read_lines(self, text: str) -> None:
        for line in text.split("\n")[:-1]:
            self._read(line)

    def _read(self, line: str) -> None:
        if "\r" in line:  # a bar that was drawn over, or Windows' line end
            line = line.rstrip("\r").rpartition("\r")[2]
        if line[STAMP_END : STAMP_END + 2] == ": " and line[4:5] == "-" == line[7:8]:
            text = line[STAMP_END + 2 :]
        else:
            match = STAMP.match(line)
            if match is None:
                self._read_unstamped(line)
                return
            text = match[1]
        handler = self._HANDLERS.get(text.partition(" ")[0])
        if handler is not None:
            handler(self, text)
        elif text:
            self._read_other(text)

    def _read_unstamped(self, line: str) -> None:
        self._failures.read(line)
        setting = SETTING.fullmatch(line)
        if setting and self._begun is None:
            self._settings[setting[1]] = setting[2]
            if setting[1] == "n_epochs" and COUNT.fullmatch(setting[2]):
                self._set(planned=int(setting[2]))
        elif line.startswith("epoch:  ") or VERSION_1.match(line):
            self._set(is_version_1=True)

    def _read_other(self, text: str) -> None:
        if text[:7].upper() == "WARNING":
            self._set(warning=text.strip())
        elif VERSION_1.match(text):
            self._set(is_version_1=True)
        else:
            self._failures.read(text)

    def _set(self, **facts: Any) -> None:
        self._facts = replace(self._facts, **facts)

    def _note(self, text: str) -> None:
        if len(self._notes) < MAX_NOTES:
            self._notes.append(text)

    # The lines of an epoch

    def _on_epoch(self, text: str) -> None:
        what = text[len("Epoch ") :].strip()
        if COUNT.fullmatch(what):
            self._begin(int(what))
        elif what.startswith("time: ") and what.endswith(" s") and self._begun is not None:
            self._value("seconds", what[len("time: ") : -len(" s")])
            self._end(self._begun)

    def _begin(self, number: int) -> None:
        last = self._epochs[-1].number if self._epochs else -1
        if number <= last:
            again = f"epoch {number}" if number == last else f"epochs {number} to {last}"
            self._note(f"{again} trained again: the later values count")
            self._epochs = [epoch for epoch in self._epochs if epoch.number < number]
        self._begun, self._values = number, {}
        self._failures.begin_epoch()
        if self._facts.is_trained or self._facts.stop_reason:
            self._set(is_trained=False, is_validated=False, n_predicted=0, stop_reason=None)

    def _end(self, number: int) -> None:
        values = self._values
        missing = [name for name in ("train_loss", "val_loss", "dice") if name not in values]
        if missing:
            self._note(f"epoch {number} has no {', '.join(missing)}")
        self._add(Epoch(number=number, **values))

    def _add(self, epoch: Epoch) -> None:
        self._epochs.append(epoch)
        self._begun, self._values = None, {}

    def _value(self, name: str, text: str) -> None:
        try:
            (self._values[name],) = finite(text)
        except ValueError:
            where = "" if self._begun is None else f" of epoch {self._begun}"
            self._note(f"{name}{where} is no number: {text.strip()[:60]!r}")

    def _on_learning_rate(self, text: str) -> None:
        if text.startswith("Current learning rate: "):
            self._value("learning_rate", text[len("Current learning rate: ") :])

    def _on_train_loss(self, text: str) -> None:
        self._value("train_loss", text[len("train_loss ") :])

    def _on_val_loss(self, text: str) -> None:
        self._value("val_loss", text[len("val_loss ") :])

    def _on_dice(self, text: str) -> None:
        content = text[len("Pseudo dice ") :].strip()
        try:
            self._values["dice"] = parse_dice(content)
        except ValueError:
            self._note(f"Pseudo dice of epoch {self._begun} cannot be read: {content[:60]!r}")

    def _on_best(self, text: str) -> None:
        if not self._epochs or self._begun is not None:
            return
        try:
            average = float(text.rpartition(":")[2])
        except ValueError:
            self._note(f"the best average after epoch {self._epochs[-1].number} is no number: {text[:60]!r}")
            return
        if math.isfinite(average):
            self._epochs[-1] = replace(self._epochs[-1], average=average)

    # The lines around them

    def _on_training(self, text: str) -> None:
        if text.startswith("Training done."):
            self._set(is_trained=True)
        elif stopped := STOPPED.fullmatch(text):
            self._set(stop_reason=stopped[3], planned=int(stopped[2]))
        else:
            self._failures.read(text)

    def _on_early_stopping(self, text: str) -> None:
        self._early_stopping = text

    def _on_interrupted(self, text: str) -> None:
        if interrupted := INTERRUPTED.fullmatch(text):
            self._set(interrupted=interrupted[1])

    def _on_this(self, text: str) -> None:
        if split := SPLIT.search(text):
            self._set(n_validation_cases=int(split[2]))

    def _on_predicting(self, text: str) -> None:
        self._set(n_predicted=self._facts.n_predicted + 1)

    def _on_validation(self, text: str) -> None:
        if text.startswith("Validation complete"):
            self._set(is_trained=True, is_validated=True)

    def _on_using(self, text: str) -> None:
        if self._facts.is_validated and "split file" in text:  # a validation without training begins
            self._set(n_predicted=0)

    _HANDLERS: ClassVar[dict[str, Callable[[LogParser, str], None]]] = {
        "Epoch": _on_epoch,
        "Current": _on_learning_rate,
        "train_loss": _on_train_loss,
        "val_loss": _on_val_loss,
        "Pseudo": _on_dice,
        "Yayy!": _on_best,
        "Training": _on_training,
        "Early": _on_early_stopping,
        "Interrupted": _on_interrupted,
        "This": _on_this,
        "predicting": _on_predicting,
        "Validation": _on_validation,
        "Using": _on_using,
    }
