"""nnU-Net's own evaluation, and SimpleITK's filters."""

import json
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import numpy as np
import pytest
from factories import LABELS, REGION_ORDER, REGIONS, geometry, write_dataset_json, write_image
from scipy import ndimage

from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.metrics.evaluate import run_evaluation
from nnunet_ext.metrics.overlap import case_dice
from nnunet_ext.metrics.surface import compare_surfaces

SHAPE = (6, 20, 23)


def blobs(seed, n_labels=4):
    fields = ndimage.gaussian_filter(
        np.random.default_rng(seed).normal(size=(n_labels, *SHAPE)), (0, 1, 2, 2)
    )
    return fields.argmax(axis=0).astype(np.uint8)


@pytest.mark.parametrize(
    ("entries", "order"),
    [
        (LABELS, None),
        (LABELS | {"ignore": 4}, None),
        (REGIONS, REGION_ORDER),
        (REGIONS | {"ignore": 4}, REGION_ORDER),
    ],
    ids=["labels", "ignore", "regions", "regions and ignore"],
)
def test_the_summary_is_nnunets(tmp_path, monkeypatch, entries, order):
    theirs = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions", reason="no nnunetv2")
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    # Threads for its processes, each of which would import torch first.
    threads = ThreadPool(1)
    context = SimpleNamespace(Pool=lambda _: threads)
    monkeypatch.setattr(theirs.multiprocessing, "get_context", lambda _: context)
    dataset = write_dataset_json(tmp_path, entries, order)
    for seed, case in enumerate("abc"):
        reference = blobs(seed)
        if case != "a":
            reference[reference == 3] = 0  # a label that two of the cases do not hold, one not even predicted
        prediction = np.where(np.random.default_rng(9).random(SHAPE) < 0.7, reference, blobs(seed + 10))
        if case == "c":
            prediction[prediction == 3] = 0
        if "ignore" in entries:
            reference[:2] = 4
        write_image(tmp_path / "ref" / f"{case}.nii.gz", reference)
        write_image(tmp_path / "pred" / f"{case}.nii.gz", prediction.astype(np.uint8))
    run_evaluation(
        tmp_path / "pred", tmp_path / "ref", tmp_path / "ours", dataset=dataset, execution=IN_THIS_PROCESS
    )
    manager = LabelManager(entries, order)
    theirs.compute_metrics_on_folder(
        str(tmp_path / "ref"),
        str(tmp_path / "pred"),
        str(tmp_path / "theirs.json"),
        SimpleITKIO(),
        ".nii.gz",
        manager.foreground_regions if manager.has_regions else manager.foreground_labels,
        manager.ignore_label,
        num_processes=1,
    )
    ours = json.loads((tmp_path / "ours" / "summary.json").read_text(encoding="utf-8"))
    expected = json.loads((tmp_path / "theirs.json").read_text(encoding="utf-8"))
    assert repr(ours) == repr(expected)  # every number and NaN, in nnU-Net's order


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_are_those_of_simpleitk(seed):
    sitk = pytest.importorskip("SimpleITK")
    from factories import labels

    reference = blobs(seed)
    prediction = np.where(np.random.default_rng(seed).random(SHAPE) < 0.7, reference, blobs(seed + 10))
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(sitk.GetImageFromArray(reference), sitk.GetImageFromArray(prediction.astype(np.uint8)))
    for value, one in enumerate(case_dice(prediction, reference, labels()).values(), start=1):
        assert one.dice == pytest.approx(measures.GetDiceCoefficient(value))
        assert one.iou == pytest.approx(measures.GetJaccardCoefficient(value))
        signed = measures.GetVolumeSimilarity(value)  # 2 (a - b) / (a + b)
        assert one.volumetric_similarity == pytest.approx(1 - abs(signed) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_surface_distances_are_simpleitks_within_half_a_voxel(seed):
    """Voxels' centres there, the surface between voxels here."""
    sitk = pytest.importorskip("SimpleITK")
    grid = geometry(SHAPE)
    reference = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), (1, 3, 3)) > 0
    prediction = ndimage.shift(reference.astype(np.uint8), (0, 2, 1), order=0).astype(bool)
    spacing = grid.spacing
    surfaces = []
    for mask in (prediction, reference):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        edge = sitk.GetArrayViewFromImage(sitk.LabelContour(image)) > 0
        distance = sitk.SignedMaurerDistanceMap(
            sitk.LabelContour(image), squaredDistance=False, useImageSpacing=True
        )
        surfaces.append((edge, np.abs(sitk.GetArrayFromImage(distance))))
    (edge_p, to_p), (edge_r, to_r) = surfaces
    expected = max(np.percentile(to_r[edge_p], 95), np.percentile(to_p[edge_r], 95))
    found = compare_surfaces(prediction, reference, spacing, 1.0)
    assert found.hd95_mm == pytest.approx(expected, abs=max(spacing) / 2)


def write_pairs(root, pairs):
    for case, (prediction, reference) in pairs.items():
        write_image(root / "pred" / f"{case}.nii.gz", prediction)
        write_image(root / "ref" / f"{case}.nii.gz", reference)
    return root / "pred", root / "ref"


def values_with_gaps(seed):
    return np.array([0, 26, 41, 42, 14175], np.int32)[blobs(seed, n_labels=5)]


@pytest.mark.parametrize("labels", [(), (26, 42)], ids=["all values", "some"])
def test_labels_with_gaps_score_as_nnunets_simple_evaluation(tmp_path, labels):
    theirs = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions", reason="no nnunetv2")
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    pairs = {case: (values_with_gaps(seed), values_with_gaps(seed + 10)) for seed, case in enumerate("ab")}
    folders = write_pairs(tmp_path, pairs)
    found = run_evaluation(
        *folders, tmp_path / "out", labels=labels, tolerance_mm=1.0, execution=IN_THIS_PROCESS
    )
    values = labels or (26, 41, 42, 14175)
    assert [one.name for one in found.labels] == [str(value) for value in values]
    content = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    for case in content["metric_per_case"]:
        expected = theirs.compute_metrics(
            case["reference_file"], case["prediction_file"], SimpleITKIO(), list(values), None
        )
        assert case["metrics"] == {str(key): value for key, value in expected["metrics"].items()}
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_penalty_counts_for_missed_labels_and_false_alarms_alone(tmp_path):
    none, box = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    box[2:4, 4:9, 4:9] = 1
    pairs = {"hit": (box, box), "missed": (none, box), "alarm": (box, none), "neither": (none, none)}
    folders = write_pairs(tmp_path, pairs)
    dataset = write_dataset_json(tmp_path, {"background": 0, "lesion": 1})
    asked = {"dataset": dataset, "tolerance_mm": 1.0, "execution": IN_THIS_PROCESS}
    told = run_evaluation(*folders, tmp_path / "told", **asked)
    assert [told.overall[name].mean for name in ("hd95_mm", "surface_dice")] == [0.0, 0.5]
    with_penalty = run_evaluation(*folders, tmp_path / "penalty", missed_hd95_mm=90.0, **asked)
    assert with_penalty.overall["hd95_mm"].mean == pytest.approx(60.0)
    assert with_penalty.overall["surface_dice"].mean == pytest.approx(1 / 3)
    assert with_penalty.overall["dice"] == told.overall["dice"]
    rows = (tmp_path / "penalty" / "cases.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in rows if ",90.0," in row] == ["alarm", "missed"]
