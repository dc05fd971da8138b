"""Types of option values for argparse: numbers within bounds, refused in one sentence."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole_number(least: int, noun: str = "whole number") -> Callable[[str], int]:
    """A type for whole numbers of `least` or more; messages call them by `noun`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no {noun} of {least} or more")
        return int(text)

    return parse


def number_between(least: float, most: float, noun: str = "number") -> Callable[[str], float]:
    """A type for numbers from `least` to `most`; messages call them by `noun`."""

    def parse(text: str) -> float:
        value = _number(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no {noun} from {least:g} to {most:g}")
        return value

    return parse


def length_mm(text: str) -> float:
    """A length of 0 mm or more."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of 0 mm or more")
    return value


def positive_number(text: str) -> float:
    """A number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _number(text: str) -> float:
    """The number that a text holds; NaN, which is in no range, where it holds none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
