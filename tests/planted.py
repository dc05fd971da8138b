"""Members that are right and wrong where they were told to be, from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from factories import LABELS, geometry, write_dataset_json, write_image, write_prediction
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.metrics.overlap import joint_histogram, n_values_of
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.probabilities.stream import Layout, blocks_of
from nnunet_ext.tuning.contested import find_contested
from nnunet_ext.tuning.scoring import ScoredCase, Scorer

SHAPE = (6, 22, 27)
SIZES = {1: 4.5, 2: 3.5, 3: 3.0}
CENTRES = {1: (2.5, 7, 7), 2: (2.5, 14, 12), 3: (2.5, 8, 19)}


def reference(rng: np.random.Generator, labels: Sequence[int] = (1, 2, 3)) -> NDArray[np.uint8]:
    """Ellipsoids of some labels, near their places."""
    found = np.zeros(SHAPE, np.uint8)
    for label in labels:
        found[_ellipsoid(np.array(CENTRES[label]) + rng.normal(0, 0.8, 3) * (0.3, 1, 1), SIZES[label])] = (
            label
        )
    return found


def _ellipsoid(centre: NDArray[np.float64], size: float) -> NDArray[np.bool_]:
    grid = np.indices(SHAPE) - centre.reshape(3, 1, 1, 1)
    return (grid[0] / (0.55 * size)) ** 2 + (grid[1] / size) ** 2 + (grid[2] / size) ** 2 < 1


def probabilities(
    truth: NDArray[np.uint8], rng: np.random.Generator, noise: Mapping[int, float], n_labels: int = 4
) -> NDArray[np.float32]:
    """Softmax of smooth noise on a smoothed truth: the more noise a label has, the worse it is found."""
    logits = np.stack([4.0 * (truth == label) for label in range(n_labels)])
    for label in range(1, n_labels):
        smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), (0.7, 1.5, 1.5))
        logits[label] += noise.get(label, 0.5) * smooth / smooth.std()
    logits -= logits.max(axis=0)
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(axis=0)).astype(np.float32)


def scored(case_id: str, members: Sequence[NDArray[np.float32]], truth: NDArray[np.uint8], labels: Labels):
    """A case as tuning reads it, and where it is contested."""
    layout = Layout(len(labels), truth.shape, 500)
    found = find_contested(lambda: [blocks_of(p, layout) for p in members], labels, layout)
    settled = np.ones(truth.size, bool)
    settled[found.voxels] = False
    flat = truth.reshape(-1)
    joint = joint_histogram(found.settled[settled], flat[settled], n_values_of(labels))
    n_members = len(members)
    return ScoredCase(
        case_id=case_id,
        members=tuple(range(n_members)),
        shares=(1.0,) * n_members,
        values=found.values,
        reference=flat[found.voxels],
        settled=joint,
    ), found


def scorer(seed: int, noises: Sequence[Mapping[int, float]], labels: Labels, n_cases: int = 20) -> Scorer:
    """Cases that hold all labels, predicted by a member for each of `noises`."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(n_cases):
        truth = reference(rng)
        members = [probabilities(truth, rng, noise) for noise in noises]
        cases.append(scored(str(number), members, truth, labels)[0])
    return Scorer(cases, labels)


def write_models(
    root: Path, noises: Mapping[str, Mapping[int, float]], seed: int = 0, n_cases: int = 12, n_folds: int = 3
) -> dict[str, Path]:
    """Trained models' folders with validation probabilities, and their references in `root / "ref"`."""
    rng = np.random.default_rng(seed)
    write_dataset_json(root, LABELS)
    folders = {name: root / "Dataset007_Planted" / f"nnUNetTrainer__nnUNetPlans__{name}" for name in noises}
    for folder in folders.values():
        write_dataset_json(folder, LABELS)
    for number in range(n_cases):
        case, truth = f"case_{number:02}", reference(rng)
        write_image(root / "ref" / f"{case}.nii.gz", truth, geometry(SHAPE))
        for name, noise in noises.items():
            validation = folders[name] / f"fold_{number % n_folds}" / "validation"
            write_prediction(validation, case, probabilities(truth, rng, noise), geometry(SHAPE))
    return folders
