"""Lines of nnU-Net's training log: the lines of an epoch, numbers in them, and error messages."""

from __future__ import annotations

import math
import re

from nnunet_ext.nnunet.history import Epoch

_LINE_END = r"[ \r]*\n"
_AT = r"[-\d]{10} [\d:.]{8,15}: "
# The lines of nearly all epochs, with groups in the order of the parameters of `read_plain_epoch`.
PLAIN_EPOCH = re.compile(
    rf"^(?:{_AT}{_LINE_END})?{_AT}Epoch (\d{{1,9}}){_LINE_END}"
    rf"{_AT}Current learning rate: (\S+){_LINE_END}"
    rf"{_AT}train_loss (\S+){_LINE_END}"
    rf"{_AT}val_loss (\S+){_LINE_END}"
    rf"{_AT}Pseudo dice (\[[^\]\n]*\]){_LINE_END}"
    rf"{_AT}Epoch time: (\S+) s{_LINE_END}"
    rf"(?:{_AT}Yayy! New best EMA pseudo Dice: (\S+){_LINE_END})?"
    rf"(?:{_AT}(Early stopping: [^\n]*)\n)?",
    re.MULTILINE,
)
NUMBER_KINDS = ("np.float32", "np.float64", "np.float16", "tensor")  # as numpy 2 and torch print a number


def read_plain_epoch(
    number: str, rate: str, train: str, val: str, dice: str, seconds: str, best: str | None
) -> Epoch | None:
    """The epoch of these texts; None where one is no number, so that the lines must be read one by one."""
    try:
        train_loss, val_loss, learning_rate, epoch_s = finite(train, val, rate, seconds)
        (average,) = finite(best) if best else (None,)
        return Epoch(
            number=int(number),
            train_loss=train_loss,
            val_loss=val_loss,
            dice=parse_dice(dice),
            learning_rate=learning_rate,
            seconds=epoch_s,
            average=average,
        )
    except ValueError:
        return None


def parse_dice(text: str) -> tuple[float | None, ...]:
    """Parse the Dice in `[0.89, nan]`, `[np.float32(0.89)]` or `[0.89 0.91]`; NaN becomes None.

    Raises:
        ValueError: the text is no list of numbers.
    """
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(text)
    content = text[1:-1]
    if "(" in content:
        kind = content.partition("(")[0].rpartition(" ")[2]
        if kind not in NUMBER_KINDS:
            raise ValueError(text)
        content = content.replace(kind + "(", "").replace(")", "")
    return finite(*content.replace(",", " ").split())


def finite(*texts: str) -> tuple[float | None, ...]:
    """Parse numbers; each that is NaN or infinite becomes None.

    Raises:
        ValueError: one of them is no number.
    """
    try:
        numbers = tuple(map(float, texts))
    except ValueError:
        numbers = tuple(map(_number, texts))
    if math.isfinite(sum(numbers)):
        return numbers
    return tuple(number if math.isfinite(number) else None for number in numbers)


def _number(text: str) -> float:
    """Parse a number, which numpy 2 and torch print as `np.float64(0.89)`."""
    kind, _, value = text.partition("(")
    return float(value.removesuffix(")")) if kind in NUMBER_KINDS and text.endswith(")") else float(text)


TRACEBACK = "Traceback (most recent call last)"
ERROR = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: .*)?\s*")
KILLED = re.compile(
    r"\b(Killed|Segmentation fault|Bus error|oom[-_]kill\w*|out of memory|DUE TO TIME LIMIT|CANCELLED AT)\b",
    re.IGNORECASE,
)
CONSEQUENCE = re.compile(r"background workers? (?:are|is) no longer alive")
BROKE_OFF = "Training broke off: "  # logged by the trainers of this package
KEPT_EPOCHS = 1


class Failures:
    """Error messages of a log, which count as long as at most one later epoch begins."""

    def __init__(self) -> None:
        self._found: list[tuple[int, str]] = []
        self._n_epochs = 0
        self._in_traceback = False

    def begin_epoch(self) -> None:
        """Note the beginning of an epoch, and drop errors after which more than one epoch began."""
        self._n_epochs += 1
        if self._found:
            self._found = [one for one in self._found if self._n_epochs - one[0] <= KEPT_EPOCHS]

    def read(self, line: str) -> None:
        """Read a line that is no regular line of nnU-Net's log."""
        if line.startswith(BROKE_OFF):
            self._found.append((self._n_epochs, line.removeprefix(BROKE_OFF).strip()))
        elif TRACEBACK in line:
            self._in_traceback = True
        elif self._in_traceback and ERROR.fullmatch(line):
            self._found.append((self._n_epochs, line.strip()))
            self._in_traceback = False
        elif not self._in_traceback and KILLED.search(line):
            self._found.append((self._n_epochs, line.strip()))

    def last_words(self) -> str | None:
        """The last error message; one that only reports a dead worker counts where there is no other."""
        words = [text for _, text in self._found]
        causes = [text for text in words if not CONSEQUENCE.search(text)]
        return next(reversed(causes or words), None)
