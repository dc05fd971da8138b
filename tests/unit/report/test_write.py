import base64
import struct

import pytest

from nnunet_ext.display.tables import Table
from nnunet_ext.report.blocks import (
    FoldedBlock,
    HeadingBlock,
    ListBlock,
    MissingBlock,
    Page,
    PictureBlock,
    Section,
    TableBlock,
    TextBlock,
)
from nnunet_ext.report.write import as_markdown, breakable, write_page

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 1500, 10) + b"rest"
EVIL = '<script src="http://example.org/x.js"></script>'


@pytest.fixture
def written(tmp_path):
    table = Table(
        ("configuration", "fold", "Dice", "state"),
        (("2d", "0", "0.812 +- 0.010", "died"), ("3d_fullres", "1", "0.900 LOST", "finished")),
        "What is <known>",
    )
    blocks = (
        TextBlock(EVIL),
        HeadingBlock("2d"),
        ListBlock(("one|two",)),
        FoldedBlock("2 folds never ran", ("2d: <0>",)),
        MissingBlock("none yet"),
        TableBlock(table),
        PictureBlock("one", "a picture", PNG, PNG + b"dark"),
        PictureBlock("other", "another", PNG),
    )
    return write_page(Page("Dataset_A", "today", (Section("all", "All", blocks),)), tmp_path / "out")


def test_text_from_files_is_escaped_in_html(written):
    html = written.html.read_text(encoding="utf-8")
    assert EVIL not in html and "&lt;script" in html and "What is &lt;known&gt;" in html


def test_the_page_contains_light_and_dark_pictures(written):
    html = written.html.read_text(encoding="utf-8")
    assert html.count(base64.b64encode(PNG).decode()) >= 2
    assert html.count(base64.b64encode(PNG + b"dark").decode()) == 1
    assert html.count("<source") == 1 and html.count("<img") == 2


def test_the_markdown_names_files_that_are_there(written):
    text = written.markdown.read_text(encoding="utf-8")
    assert "![a picture](pictures/one.png)" in text
    assert (written.markdown.parent / "pictures" / "one.png").read_bytes() == PNG


def test_the_markdown_holds_a_whole_table(written):
    lines = written.markdown.read_text(encoding="utf-8").splitlines()
    start = lines.index("| configuration | fold | Dice | state | ")
    assert lines[start + 1 : start + 4] == [
        "| --- | --- | ---: | --- | ",
        "| 2d | 0 | 0.812 ± 0.010 | died | ",
        "| 3d\\_fullres | 1 | 0.900 LOST | finished | ",
    ]
    assert lines[start - 1] == "" and "**What is \\<known\\>**" in lines


def test_alarming_cells_are_marked(written):
    html = written.html.read_text(encoding="utf-8")
    assert html.count(" alarming") == 2


def test_marks_of_markdown_are_escaped():
    assert as_markdown("a_b|c\n*d* +- 1") == "a\\_b\\|c \\*d\\* ± 1"


def test_a_long_name_can_be_broken_and_is_escaped():
    assert breakable("nnUNetTrainer_ep3 <b>") == "nnUNet<wbr>Trainer_<wbr>ep3 &lt;b&gt;"


def test_what_is_folded_away_is_in_details_and_in_the_markdown(written):
    html = written.html.read_text(encoding="utf-8")
    assert "<details>\n<summary>2 folds never ran</summary>" in html and "2d: &lt;0&gt;" in html
    text = written.markdown.read_text(encoding="utf-8")
    assert "2 folds never ran:\n\n- 2d: \\<0\\>" in text
