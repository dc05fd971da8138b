"""The commands of README and documentation run in their order, on generated data."""

import contextlib
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import warm
from factories import softmax, write_dataset_json, write_image, write_prediction
from pages import AFTER_TRAINING, FROM_RAW_DATA, ROOT, Project

MODEL = "nnUNet_results/Dataset001_CardiacPhantom/nnUNetTrainerExt__nnUNetPlans__"
PHANTOM = "nnUNet_raw/Dataset001_CardiacPhantom"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.exhaustive,
    pytest.mark.skipif(not (ROOT / "docs").exists(), reason="no docs here"),
]


@pytest.fixture
def quick_children() -> Iterator[None]:
    """Children that have torch imported, and predict each patch once instead of in eight mirrorings."""
    with warm.children(warm.UNMIRRORED):
        yield


@pytest.mark.usefixtures("quick_children")
@pytest.mark.parametrize("page", FROM_RAW_DATA)
def test_the_commands_of_a_page_run_in_their_order(page, tmp_path):
    Project(tmp_path).run_page(page)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder in which the commands of the README have run."""
    project = Project(tmp_path_factory.mktemp("trained"))
    with warm.children(warm.UNMIRRORED):
        project.run(["nnunet_ext", "demo", "--only_data", "-o", PHANTOM])
        project.run_page("README.md")
    return project


def test_the_commands_of_the_readme_run_in_their_order(trained):
    assert (trained.folder / "submission.zip").is_file()
    assert (trained.folder / "report" / "report.html").is_file()


@pytest.mark.usefixtures("quick_children")
@pytest.mark.parametrize("page", AFTER_TRAINING)
def test_the_commands_of_a_page_run_after_a_training(page, trained):
    with GIVEN.get(page, contextlib.nullcontext)(trained):
        trained.run_page(page)


@contextmanager
def a_stray_file(project: Project) -> Iterator[None]:
    """What macOS leaves beside a scan."""
    stray = project.folder / PHANTOM / "imagesTr" / "._heart_000_0000.nii.gz"
    stray.write_bytes(bytes(4096))
    yield
    assert stray.is_file(), "the repair was not undone"
    stray.unlink()


@contextmanager
def a_running_training(project: Project) -> Iterator[None]:
    """A training of fold 0, which a file named STOP ends."""
    fold = project.folder / f"{MODEL}2d" / "fold_0"
    shutil.move(fold, fold.with_name("kept"))
    project.n_epochs = 40
    words = shlex.split("nnunet_ext train -d 1 -c 2d -f 0 -n_epochs 40 --npz")
    training = subprocess.Popen(project.command(words), cwd=project.folder, env=project.environment)
    run, project.n_epochs = project.run, 41

    def wait_for_it(words: list[str]) -> str:
        if words[0] == "touch":
            until(lambda: any("Epoch 0" in log.read_text() for log in fold.glob("training_log*")))
        said = run(words)
        if words[0] == "touch":
            assert training.wait(300) == 75
        return said

    project.run = wait_for_it
    yield
    training.wait(1)
    project.run, project.n_epochs = run, 2
    shutil.rmtree(fold)
    shutil.move(fold.with_name("kept"), fold)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something, at most five minutes."""
    ends = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.1)


@contextmanager
def labels_with_gaps(project: Project) -> Iterator[None]:
    """Segmentations of labels 26, 41 and 42, without a dataset.json."""
    values = np.array([0, 26, 41, 42], np.uint8)
    for seed, folder in enumerate(("all_labels", "references")):
        for case in ("a", "b"):
            labels = softmax(seed).argmax(axis=0)
            write_image(project.folder / folder / f"{case}.nii.gz", values[labels])
    yield


@contextmanager
def trainings_by_nnunet(project: Project) -> Iterator[None]:
    """Models of nnUNetTrainer: ours under its name, one fold of them without its validation probabilities."""
    for configuration in ("2d", "3d_fullres"):
        ours = project.folder / f"{MODEL}{configuration}"
        theirs = ours.with_name(ours.name.replace("nnUNetTrainerExt", "nnUNetTrainer"))
        shutil.copytree(ours, theirs)
    for path in (theirs / "fold_0" / "validation").iterdir():
        path.unlink()
    yield


@contextmanager
def photographs(project: Project) -> Iterator[None]:
    """Data set 5, RGB images as PNG, with predictions of its test images."""
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    raw = project.folder / "nnUNet_raw" / "Dataset005_Photographs"
    labels = {"background": 0, "road": 1}
    path = write_dataset_json(raw, labels, ending=".png", channels=("R", "G", "B"), n_training=3)
    shutil.copyfile(path, project.folder / "dataset.json")
    for part, cases in (("Tr", "abc"), ("Ts", "de")):
        for case in cases:
            colours = rng.integers(0, 255, (40, 50, 3), np.uint8)
            image = sitk.GetImageFromArray(colours, isVector=True)
            (raw / f"images{part}").mkdir(exist_ok=True)
            sitk.WriteImage(image, str(raw / f"images{part}" / f"{case}_0000.png"))
            write_plain(raw / f"labels{part}" / f"{case}.png", colours[..., 0] > 100)
    for case in "de":
        write_plain(project.folder / "photographs_predicted" / f"{case}.png", rng.random((40, 50)) > 0.5)
    yield


def write_plain(path: Path, mask: np.ndarray) -> None:
    import SimpleITK as sitk

    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(mask.astype(np.uint8)), str(path))


@contextmanager
def predictions_of_a_fold(project: Project) -> Iterator[None]:
    """Probabilities of two cases in `pred/2d_f0`."""
    folder = project.folder / "pred" / "2d_f0"
    write_dataset_json(folder)
    for seed, case in enumerate(("a", "b")):
        write_prediction(folder, case, softmax(seed))
    yield


GIVEN: dict[str, Callable[[Project], AbstractContextManager[None]]] = {
    "docs/how-to/check.md": a_stray_file,
    "docs/how-to/continue.md": a_running_training,
    "docs/how-to/regions.md": labels_with_gaps,
    "docs/how-to/results-to-plan.md": trainings_by_nnunet,
    "docs/how-to/rgb-and-2d.md": photographs,
    "docs/reference/formats.md": predictions_of_a_fold,
}
