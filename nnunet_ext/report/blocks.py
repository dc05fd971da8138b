"""What a page consists of, whatever it is written as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from nnunet_ext.display.tables import Table
from nnunet_ext.display.themes import DARK, LIGHT, Theme


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Heading:
    """What stands above the blocks of one model."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    kind: ClassVar[str] = "items"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table under its title."""

    kind: ClassVar[str] = "grid"
    table: Table


@dataclass(frozen=True)
class Missing:
    """What is not there, and how to make it."""

    kind: ClassVar[str] = "missing"
    text: str


NO_VALIDATION = Missing("No fold has a validation yet; nnUNetv2_train … --val makes one.")


@dataclass(frozen=True)
class Picture:
    """A PNG.

    Attributes:
        name: of its file, without the ending.
        text: what it shows, for those who do not see it.
        light: on a light page, and in files.
        dark: on a dark page; None where it is the same.
    """

    kind: ClassVar[str] = "picture"
    name: str
    text: str
    light: bytes
    dark: bytes | None = None

    @classmethod
    def drawn(cls, name: str, text: str, draw: Callable[[Theme], bytes]) -> Picture:
        """A figure in the colours of both pages."""
        return cls(name, text, draw(LIGHT), draw(DARK))


Block = Text | Heading | Items | Grid | Missing | Picture


@dataclass(frozen=True)
class Section:
    """A part of a page; its key is the anchor that links name."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """All there is to say."""

    title: str
    about: str
    sections: tuple[Section, ...]
