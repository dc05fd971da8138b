"""The whole page, from the files of two trainers to what a browser shows."""

import base64
import json
import shutil
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from factories import geometry, write_image
from matplotlib.image import imread
from reported import DATASET, SHAPE, TRAINERS, labels, write_project

from nnunet_ext.cli.main import main
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.report.run import SECTIONS

PLAN = """
members: {one: [members/one], two: [members/two]}
weights:
  default: {one: 1, two: 3}
  labels: {Anterior: {one: 1, two: 0}}
postprocess:
  - keep_largest: {labels: [Anterior]}
"""
DATA_URI = "data:image/png;base64,"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Where nnU-Net's variables point to, with a broken run, an ensemble's plan and its segmentations."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        for variable, folder in write_project(root).items():
            patch.setenv(variable, folder)
        broken = root / "results" / DATASET / f"{TRAINERS[0]}__nnUNetPlans__2d" / "fold_2"
        (broken / "validation").mkdir(parents=True)
        (broken / "training_log_2024_4_21_09_00_00.txt").write_bytes(b"\xff\xfe train_loss nothing")
        (broken / "validation" / "summary.json").write_text("{", encoding="utf-8")
        for case in ("case_4", "case_5"):
            write_image(root / "fused" / f"{case}.nii.gz", labels(1), geometry(SHAPE))
        for member in ("one", "two"):
            (root / "members" / member).mkdir(parents=True)
        (root / "plan.yaml").write_text(PLAN, encoding="utf-8")
        yield root


@pytest.fixture(scope="module")
def report(project):
    """The folder of a report on everything."""
    results = str(project / "results")
    arguments = ["-d", "4", "-i", results, f"Fused={project / 'fused'}", "-plan", str(project / "plan.yaml")]
    assert main(["report", *arguments, "-o", str(project / "report"), "-np", "0"]) == 0
    return project / "report"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def html(report):
    return Elements((report / "report.html").read_text(encoding="utf-8"))


def test_every_section_is_there_and_linked(html):
    assert [one["id"] for one in html.of("section")] == list(SECTIONS)
    assert [one["href"] for one in html.of("a")] == [f"#{key}" for key in SECTIONS]
    assert "could not be made" not in html.text


def test_nothing_is_loaded_from_anywhere(html):
    addresses = [
        value
        for _, attributes in html.found
        for name, value in attributes.items()
        if name in ("src", "srcset", "href", "data", "action", "poster")
    ]
    assert addresses and all(value.startswith(("data:", "#")) for value in addresses)
    assert not html.of("script") and "url(" not in html.text and "@import" not in html.text


def test_every_picture_is_a_png_that_decodes_in_light_and_dark(html):
    sources = [one["src"] for one in html.of("img")]
    dark = [one["srcset"] for one in html.of("source")]
    assert (
        len(sources) == 5 and len(dark) == 4
    )  # two models, cases, weights; the overlays are dark at any rate
    for uri in (*sources, *dark):
        assert uri.startswith(DATA_URI)
        image = imread(BytesIO(base64.b64decode(uri.removeprefix(DATA_URI))), format="png")
        assert image.std() > 0.01
    assert all(one["alt"] for one in html.of("img"))


def test_the_page_tells_what_is_known(html):
    for text in (
        "The best single model in validation is nnUNetTrainer: mean Dice 0.",
        "Fused gains 0.",
        "case_6",
        "nnUNetTrainerOther is 0.",
        "Fused",
        "best: case_0",
        "keep_largest (labels Anterior)",
        "fold 2: summary.json cannot be read",
    ):
        assert text in html.text, text


def test_the_markdown_says_the_same_with_files(report):
    text = (report / "report.md").read_text(encoding="utf-8")
    assert all(f"## {part.title}" in text for part in SECTIONS.values())
    names = {path.name for path in (report / "pictures").iterdir()}
    assert names == {"cases.png", "curves_0.png", "curves_1.png", "overlays.png", "weights.png"}
    assert all(f"(pictures/{name})" in text for name in names)


def test_a_damaged_case_costs_only_itself(project, capsys):
    worst = project / "copy"
    shutil.copytree(
        project / "results" / DATASET / f"{TRAINERS[0]}__nnUNetPlans__2d" / "fold_1", worst / "fold"
    )
    name = f"{TRAINERS[0]}__nnUNetPlans__2d"
    fold = worst / DATASET / name / "fold_1"
    fold.parent.mkdir(parents=True)
    shutil.move(worst / "fold", fold)
    (fold / "validation" / "case_6.nii.gz").write_bytes(b"no image")
    (project / "fused" / "case_5.nii.gz").write_bytes(b"no image")
    out = project / "damaged"
    (project / "damaged.json").write_text("{", encoding="utf-8")
    arguments = ["-i", str(worst), str(project / "fused"), "-plan", str(project / "damaged.json")]
    assert main(["report", *arguments, "-o", str(out), "-np", "0"]) == 1
    told = capsys.readouterr().out
    assert "FAILED fused, case case_5" in told and "damaged.json cannot be read" in told
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "worst case case\\_6 is not shown" in text and "best: case\\_4" in text


def test_runs_of_several_data_sets_or_none_are_wrong_usage(project, capsys):
    other = project / "several" / "Dataset012_Liver" / "T__P__2d" / "fold_0"
    other.mkdir(parents=True)
    both = [str(project / "results"), str(project / "several")]
    assert main(["report", "-i", *both, "-o", str(project / "no")]) == 2
    assert "Dataset012_Liver" in capsys.readouterr().err
    assert main(["report", "-d", "4", "-tr", "nobody", "-o", str(project / "no")]) == 2
    assert not (project / "no").exists()


def test_voxels_that_a_reference_leaves_open_do_not_count_and_another_grid_is_refused(
    project, tmp_path, capsys
):
    raw = tmp_path / "raw" / DATASET
    shutil.copytree(project / "raw" / DATASET, raw)
    content = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    content["labels"]["ignore"] = 3
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    open_ones = np.where(labels(1) != labels(), 3, labels()).astype(np.uint8)
    write_image(raw / "labelsTr" / "case_4.nii.gz", open_ones, geometry(SHAPE))
    write_image(raw / "labelsTr" / "case_5.nii.gz", labels(), Geometry.of_array(SHAPE))
    fused = tmp_path / "fused"
    for case in ("case_4", "case_5"):
        write_image(fused / f"{case}.nii.gz", labels(1), geometry(SHAPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_raw", str(tmp_path / "raw"))
        patch.setenv("nnUNet_preprocessed", str(tmp_path / "none"))
        arguments = ["-d", "4", "-i", str(project / "results"), f"Fused={fused}", "-np", "0"]
        assert main(["report", *arguments, "-o", str(tmp_path / "report")]) == 1
    said = "".join(capsys.readouterr())
    assert "Fused, case case_5: GeometryMismatch" in said
    assert "case_4" not in said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_every_picture_without_an_error_or_a_request(report, scheme, width):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on the PATH")
    said, asked = [], []
    address = (report / "report.html").as_uri()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        widths = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
        shown = page.evaluate("document.images[0].currentSrc")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        page.evaluate("document.querySelectorAll('.table').forEach(table => table.scrollLeft = 1000)")
        fixed = page.evaluate(
            "[...document.querySelectorAll('.table')].map(table => "
            "table.querySelector('td').getBoundingClientRect().left - table.getBoundingClientRect().left)"
        )
        browser.close()
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {address}
    assert len(widths) == 5 and all(widths)
    image = imread(BytesIO(base64.b64decode(shown.removeprefix(DATA_URI))), format="png")
    assert (np.median(image[..., :3]) < 0.5) == (scheme == "dark")
    assert overflow <= 0
    assert fixed and max(map(abs, fixed)) < 1  # the first column stays where the rest is scrolled
