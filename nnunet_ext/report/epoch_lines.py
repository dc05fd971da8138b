"""The lines of one epoch in nnU-Net's log, read in one go for speed."""

from __future__ import annotations

import math
import re

from nnunet_ext.report.history import Epoch

_LINE_END = r"[ \r]*\n"
_AT = r"[-\d]{10} [\d:.]{8,15}: "
# Groups in the order in which `read_plain_epoch` takes them. Nearly all epochs stand like this.
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
    """The epoch of these texts; None where one is no number, for its lines to be read one by one."""
    try:
        train_loss, val_loss, learning_rate, epoch_s = finite(train, val, rate, seconds)
        (average,) = finite(best) if best else (None,)
        return Epoch(int(number), train_loss, val_loss, parse_dice(dice), learning_rate, epoch_s, average)
    except ValueError:
        return None


def parse_dice(text: str) -> tuple[float | None, ...]:
    """The Dice in `[0.89, nan]`, `[np.float32(0.89)]` or `[0.89 0.91]`; NaN is None.

    Raises:
        ValueError: it is no list of numbers.
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
    """Numbers, with None for each that is NaN or infinite.

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
    """A number as it stands, or as numpy 2 and torch print theirs: `np.float64(0.89)`."""
    kind, _, value = text.partition("(")
    return float(value.removesuffix(")")) if kind in NUMBER_KINDS and text.endswith(")") else float(text)
