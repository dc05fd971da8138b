"""The content of a report page: sections of text, lists, tables and pictures, in no file format yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from nnunet_ext.display.tables import Table
from nnunet_ext.display.themes import DARK, LIGHT, Theme


@dataclass(frozen=True)
class TextBlock:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class HeadingBlock:
    """The heading above the blocks of one model."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class ListBlock:
    """A list of sentences."""

    kind: ClassVar[str] = "list"
    items: tuple[str, ...]


@dataclass(frozen=True)
class FoldedBlock:
    """A list of sentences under a title, shown once the title is clicked."""

    kind: ClassVar[str] = "folded"
    text: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class TableBlock:
    """A table under its title."""

    kind: ClassVar[str] = "table"
    table: Table


@dataclass(frozen=True)
class MissingBlock:
    """A note that something is missing, and how to make it."""

    kind: ClassVar[str] = "missing"
    text: str


NO_VALIDATION = MissingBlock("No fold has a validation yet; nnUNetv2_train … --val makes one.")


@dataclass(frozen=True)
class PictureBlock:
    """A PNG picture.

    Attributes:
        name: of its file, without the ending.
        text: description of the picture, shown below it and read by screen readers.
        light: the PNG for light pages and for the Markdown files.
        dark: the PNG for dark pages; None where it is the same.
    """

    kind: ClassVar[str] = "picture"
    name: str
    text: str
    light: bytes
    dark: bytes | None = None

    @classmethod
    def drawn(cls, name: str, text: str, draw: Callable[[Theme], bytes]) -> PictureBlock:
        """A figure drawn twice, in the colours of the light and of the dark page."""
        return cls(name, text, draw(LIGHT), draw(DARK))


Block = TextBlock | HeadingBlock | ListBlock | FoldedBlock | TableBlock | MissingBlock | PictureBlock


@dataclass(frozen=True)
class Section:
    """A section of a page; its key is the anchor of links to it."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A whole page: its title, a line on its date and version, and its sections."""

    title: str
    about: str
    sections: tuple[Section, ...]
