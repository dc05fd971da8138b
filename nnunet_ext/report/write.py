"""Writes a page as one self-contained HTML file, and as Markdown with PNG files."""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from nnunet_ext.display.tables import MARKED, is_alarming, is_number_column, with_signs
from nnunet_ext.display.themes import DPI
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import printable
from nnunet_ext.files.outputs import check_file, contains, make_folder
from nnunet_ext.files.whole import written_whole
from nnunet_ext.report.blocks import Page, PictureBlock

HTML, MARKDOWN, PICTURES = "report.html", "report.md", "pictures"
CSS_DOTS_AN_INCH = 110  # the largest scale of a picture, at which its text has the size of the page's
BREAKS = re.compile(r"(?<=_)|(?<=[a-z])(?<!nn)(?=[A-Z])")  # nnUNet is one word
MARKDOWN_MARKS = re.compile(r"([\\`*_\[\]<>|#])")


@dataclass(frozen=True)
class ReportFiles:
    """The two files of a written page."""

    html: Path
    markdown: Path


def check_page_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a page may be written to a folder; the folder is made where it is missing.

    Raises:
        UsageError: the folder cannot be written, or holds files of these names that no report wrote.
    """
    make_folder(folder)
    check_file(
        folder / HTML, contains('name="generator" content="nnunet_ext"'), "a report", overwrite=overwrite
    )
    others = [name for name in (MARKDOWN, PICTURES) if (folder / name).exists()]
    if others and not overwrite and not (folder / HTML).exists():
        raise UsageError(
            f"{folder} holds {' and '.join(others)}, which no report of nnunet_ext wrote. Choose another "
            "folder with -o, or replace them with --overwrite."
        )


def write_page(page: Page, folder: Path) -> ReportFiles:
    """Write `report.html`, `report.md` and its `pictures`, each whole or not at all.

    The HTML needs no other file and no network.
    """
    pictures = {block.name: block.light for block in _pictures(page)}
    for name, png in pictures.items():
        with written_whole(folder / PICTURES / f"{name}.png") as part:
            part.write_bytes(png)
    written = ReportFiles(folder / HTML, folder / MARKDOWN)
    for template, target in (("page.html.j2", written.html), ("page.md.j2", written.markdown)):
        text = _environment(template).get_template(template).render(page=page, pictures=PICTURES)
        with written_whole(target) as part:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return written


def _pictures(page: Page) -> list[PictureBlock]:
    return [block for section in page.sections for block in section.blocks if isinstance(block, PictureBlock)]


def _environment(template: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("nnunet_ext.report"),
        autoescape=template.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        data_uri=data_uri,
        width=_shown_width,
        is_number_column=is_number_column,
        is_alarming=is_alarming,
        is_marked=MARKED.intersection,
    )
    environment.filters.update(markdown=as_markdown, breakable=breakable)
    return environment


def data_uri(png: bytes) -> str:
    """A `data:` address that contains the whole PNG."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _shown_width(png: bytes) -> int:
    """Width at which to show a PNG, in CSS pixels, from its header."""
    width: int = struct.unpack(">I", png[16:20])[0]
    return round(width * CSS_DOTS_AN_INCH / DPI)


def breakable(text: str) -> Markup:
    """A cell's text for HTML, in which a long name may be broken after `_` and before a capital letter."""
    return Markup("<wbr>").join(map(escape, BREAKS.split(with_signs(text))))


def as_markdown(text: str) -> str:
    """A text on one line, as tables need it, with all marks of Markdown escaped."""
    return MARKDOWN_MARKS.sub(r"\\\1", printable(" ".join(with_signs(text).split())))
