"""Makes the pictures of README and documentation from trainings on the phantom data.

    python docs/pictures.py FOLDER       # about an hour without a GPU; what an earlier run made is kept

FOLDER holds the data, the trainings and a report; the pictures are written to `docs/assets`. The picture of
the report's first screen needs playwright and a Chromium on the PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

from nnunet_ext.demo.dataset import FILE_ENDING, PLANS, TRAINER, DemoFolder, cases_to_predict
from nnunet_ext.display.tables import dice_table
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.metrics.dice import DiceSummary, summarize
from nnunet_ext.metrics.overlap import case_dice
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.nnunet.image_files import scan_name
from nnunet_ext.nnunet.model_folder import ModelName
from nnunet_ext.probabilities.opening import STORE

ASSETS = Path(__file__).parent / "assets"
MOST_BYTES = 150_000
VIVID = 40  # difference of a dot's channels above which it is no gray
SIZES = [(width, n_colours) for width in (1280, 1000, 860, 720, 600) for n_colours in (256, 64, 32)]
LONG_TRAINING = "-n_epochs 30 -n_iterations 30 -n_val_iterations 4 -initial_lr 0.02 --npz"
LONG = "nnUNetTrainerExt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(work: Path) -> None:
    """Make what is missing, then all pictures."""
    demo = DemoFolder(work.resolve() / "demo")
    os.environ.update({name: str(path) for name, path in demo.nnunet.items()})
    os.environ |= {"nnUNet_n_proc_DA": "0", "nnUNet_compile": "f", "OMP_WAIT_POLICY": "PASSIVE"}
    call(demo.zip_path, "demo", "-o", demo.root, "-iterations", "10")
    for fold in ("0", "1"):
        train(demo, "2d", fold, LONG, *LONG_TRAINING.split())
        train(demo, "3d_fullres", fold, TRAINER, "--val", "--npz")
    plan, predicted, report = (work / name for name in ("plan.yaml", "predicted", "report"))
    models = {"2d": (LONG, "2d"), "3d_fullres": (TRAINER, "3d_fullres")}
    members = [f"{name}={model_folder(demo, *model)}" for name, model in models.items()]
    call(plan, "tune", "-d", "1", "-m", *members, "-o", plan)
    scans = demo.dataset / "imagesTs"
    call(None, "predict", "-i", scans, "-o", predicted, "--plan", plan)
    call(None, "splits", "-d", "1", "-k", "3", "--dry_run", "--picture", work / "folds.png")
    call(None, "report", "-d", "1", "-plan", plan, "-o", report)
    shrink(work / "folds.png", "folds")
    shrink(work / "plan_tuning_report.png", "tuning")
    shrink(model_folder(demo, LONG, "2d") / "fold_0" / "training_curves.png", "curves")
    with TemporaryDirectory() as folder:
        pictures = {name: Path(folder) / f"{name}.png" for name in ("montage", "first", "demo")}
        overlay(demo, predicted, cases_to_predict()[2], pictures["montage"])
        shrink(pictures["montage"], "montage", is_scan=True)
        first_screen(report / "report.html", pictures["first"])
        shrink(pictures["first"], "report")
        readme(demo, predicted, pictures["montage"], pictures["demo"])
        shrink(pictures["demo"], "demo", is_scan=True)


def call(product: Path | None, *words: object) -> None:
    """Run a verb unless its product is there."""
    if product is None or not product.exists():
        subprocess.run([sys.executable, "-m", "nnunet_ext", *map(str, words)], check=True)


def model_folder(demo: DemoFolder, trainer: str, configuration: str) -> Path:
    """The folder of one model's folds."""
    return demo.fold(configuration, 0).parent.with_name(str(ModelName(trainer, PLANS, configuration)))


def train(demo: DemoFolder, configuration: str, fold: str, trainer: str, *options: str) -> None:
    """Train a fold, or validate it again with probabilities, unless these are there."""
    validation = model_folder(demo, trainer, configuration) / f"fold_{fold}" / "validation"
    if not [*validation.glob("*.npz"), *validation.glob(f"*{STORE}")]:
        what = ("-d", "1", "-c", configuration, "-f", fold, "-tr", trainer, "-p", PLANS)
        call(None, "train", *what, *options)


def overlay(demo: DemoFolder, predicted: Path, case: str, target: Path) -> None:
    """Draw one test case with its reference."""
    scan = demo.dataset / "imagesTs" / scan_name(case, 0, FILE_ENDING)
    segmentations = [folder / f"{case}{FILE_ENDING}" for folder in (predicted, demo.dataset / "labelsTs")]
    labels = demo.dataset / "dataset.json"
    options = ("-i", scan, "-s", segmentations[0], "-r", segmentations[1], "-d", labels, "-o", target)
    call(None, "overlay", *options)


def dice_of(demo: DemoFolder, folder: Path) -> dict[str, DiceSummary]:
    """Dice of each label over the test cases."""
    labels = read_dataset(demo.dataset / "dataset.json").labels
    found = []
    for case in cases_to_predict():
        (one, _), (other, _) = (
            read_segmentation(path / f"{case}{FILE_ENDING}") for path in (folder, demo.dataset / "labelsTs")
        )
        found.append(case_dice(one, other, labels))
    return summarize(found)


def readme(demo: DemoFolder, predicted: Path, montage: Path, target: Path) -> None:
    """Draw the picture of the README: a predicted case, and the Dice of all test cases predicted like it.

    Other models have no row: they are trained for another time, so that their Dice cannot be compared.
    """
    n_cases = len(cases_to_predict())
    table = dice_table({f"{n_cases} phantom test cases": dice_of(demo, predicted)}, n_digits=2)
    image = imread(montage)
    height = 10 * image.shape[0] / image.shape[1]
    figure = Figure((10, height + 1.1), dpi=110, facecolor="black")
    FigureCanvasAgg(figure)
    figure.add_axes((0, 1.1 / (height + 1.1), 1, height / (height + 1.1))).imshow(image, aspect="auto")
    below = figure.add_axes((0.02, 0, 0.96, 0.9 / (height + 1.1)))
    for axes in figure.axes:
        axes.set_axis_off()
    drawn = below.table(table.rows, colLabels=table.header, loc="center", edges="horizontal")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    drawn.scale(1, 1.5)
    for (row, _), cell in drawn.get_celld().items():
        cell.set(facecolor="black", edgecolor="#555555")
        cell.get_text().set(color="white", weight="bold" if row else "normal")
    figure.savefig(target, facecolor="black")


def first_screen(page: Path, target: Path) -> None:
    """Take a picture of the first screen of the report."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, BROWSERS)))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1100, "height": 700})
        view.goto(page.resolve().as_uri())
        view.screenshot(path=target)
        browser.close()


def shrink(source: Path, name: str, *, is_scan: bool = False) -> None:
    """Write a picture to the assets, with as many dots and colours as its size in bytes allows.

    A chart keeps its pale colours; a scan has a palette of its own, in which noise leaves room for contours.
    """
    image, target = Image.open(source).convert("RGB"), ASSETS / f"{name}.png"
    for width, n_colours in SIZES:
        size = min(width, image.width), round(image.height * min(1, width / image.width))
        small = image.resize(size, Image.Resampling.LANCZOS)
        if is_scan:
            few = small.quantize(palette=palette_of(small, n_colours), dither=Image.Dither.NONE)
        else:
            few = small.quantize(n_colours, dither=Image.Dither.NONE)
        few.save(target, optimize=True)
        if target.stat().st_size < MOST_BYTES:
            return
    raise SystemExit(f"{target} is larger than {MOST_BYTES} bytes.")


def palette_of(image: Image.Image, n_colours: int) -> Image.Image:
    """Shades of gray for scans and text, and as many colours for thin lines, which few dots have."""
    dots = np.asarray(image).reshape(-1, 3)
    coloured = dots[np.ptp(dots.astype(int), axis=1) > VIVID]
    n_grays = n_colours if not len(coloured) else n_colours // 2
    grays = np.linspace(0, 255, n_grays).round().astype(np.uint8)
    colours = [value for gray in grays for value in (gray, gray, gray)]
    if len(coloured):
        found = Image.fromarray(coloured[np.newaxis]).quantize(n_colours - n_grays).getpalette() or []
        colours += found[: 3 * (n_colours - n_grays)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    return palette


if __name__ == "__main__":
    main(Path(sys.argv[1]))
