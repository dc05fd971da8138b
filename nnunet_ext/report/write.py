"""A page as one HTML file with everything in it, and as Markdown with PNG files."""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader

from nnunet_ext.display.tables import MARKED, is_alarming, is_number_column, with_signs
from nnunet_ext.display.themes import DPI
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import printable
from nnunet_ext.files.outputs import check_file, contains, make_folder
from nnunet_ext.files.whole import written_whole
from nnunet_ext.report.blocks import Page, Picture

HTML, MARKDOWN, PICTURES = "report.html", "report.md", "pictures"
CSS_DOTS_AN_INCH = 110  # how large a picture is shown at most, so that its text has the page's size
MARKDOWN_MARKS = re.compile(r"([\\`*_\[\]<>|#])")


@dataclass(frozen=True)
class Written:
    """The files of a page."""

    html: Path
    markdown: Path


def check_page_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write a page where another's lies.

    Raises:
        UsageError: nothing can be written there, or a file of the page's names is none of ours.
    """
    make_folder(folder)
    check_file(
        folder / HTML, contains('name="generator" content="nnunet_ext"'), "a report", overwrite=overwrite
    )
    others = [name for name in (MARKDOWN, PICTURES) if (folder / name).exists()]
    if others and not overwrite and not (folder / HTML).exists():
        raise UsageError(
            f"{folder} holds {' and '.join(others)} of no report of nnunet_ext. Choose another folder "
            "with -o, or replace them with --overwrite."
        )


def write_page(page: Page, folder: Path) -> Written:
    """Write `report.html`, `report.md` and its `pictures`, each whole or not at all.

    The HTML needs no other file and no network.
    """
    pictures = {block.name: block.light for block in _pictures(page)}
    for name, png in pictures.items():
        with written_whole(folder / PICTURES / f"{name}.png") as part:
            part.write_bytes(png)
    written = Written(folder / HTML, folder / MARKDOWN)
    for template, target in (("page.html.j2", written.html), ("page.md.j2", written.markdown)):
        text = _environment(template).get_template(template).render(page=page, pictures=PICTURES)
        with written_whole(target) as part:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return written


def _pictures(page: Page) -> list[Picture]:
    return [block for section in page.sections for block in section.blocks if isinstance(block, Picture)]


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
    environment.filters.update(markdown=as_markdown, shown=with_signs)
    return environment


def data_uri(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _shown_width(png: bytes) -> int:
    """Width to show a PNG with, in CSS's pixels, from its header."""
    width: int = struct.unpack(">I", png[16:20])[0]
    return round(width * CSS_DOTS_AN_INCH / DPI)


def as_markdown(text: str) -> str:
    """A text in which Markdown sees no marks; a line for each of its lines would break tables."""
    return MARKDOWN_MARKS.sub(r"\\\1", printable(" ".join(with_signs(text).split())))
