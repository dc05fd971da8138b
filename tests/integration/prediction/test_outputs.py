"""Outputs of networks on the scan's grid against nnU-Net's own conversion of logits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from factories import LABELS, REGION_ORDER, REGIONS, labels
from models import plans
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

from nnunetv2.inference.export_prediction import (  # noqa: E402
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: E402

from nnunet_ext.prediction.outputs import NetworkOutput, decide_planes, shape_on_network  # noqa: E402

SCAN, CROP = (14, 30, 26), ((1, 13), (2, 30), (0, 25))
STEP = 2e-3  # of half precision, between 1 and 4


def model_of(forward, *, is_regions=False, configuration="3d_fullres", **changes):
    content = plans()
    content["transpose_forward"] = list(forward)
    content["transpose_backward"] = np.argsort(forward).tolist()
    content["configurations"][configuration].update(changes)
    manager = PlansManager(content)
    entries, order = (REGIONS, REGION_ORDER) if is_regions else (LABELS, None)
    dataset = {"labels": entries, "channel_names": {"0": "a"}, "file_ending": ".nii.gz"}
    dataset |= {"regions_class_order": order} if order else {}
    predictor = SimpleNamespace(
        plans_manager=manager,
        configuration_manager=manager.get_configuration(configuration),
        label_manager=manager.get_label_manager(dataset),
    )
    return SimpleNamespace(predictor=predictor), labels(entries, order)


def case_of(model, forward, spacing, n_labels, seed=0):
    """Logits of a scan, and the properties that nnU-Net keeps of it."""
    turned = [SCAN[axis] for axis in forward]
    crop = [list(CROP[axis]) for axis in forward]
    shape = tuple(stop - first for first, stop in crop)
    properties = {
        "spacing": spacing,
        "shape_before_cropping": tuple(turned),
        "bbox_used_for_cropping": crop,
        "shape_after_cropping_and_before_resampling": shape,
    }
    cropped = [shape[forward.index(axis)] for axis in range(3)]
    on_network = shape_on_network(model, cropped, spacing)
    waves = np.random.default_rng(seed).normal(size=(n_labels, *on_network))
    logits = np.stack([gaussian_filter(wave, 1.5) * 20 for wave in waves])
    return logits.astype(np.float16), properties


def nnunets(model, logits, properties, **options):
    predictor = model.predictor
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
        num_threads_torch=1,
        **options,
    )


KINDS = {
    "isotropic": ((0, 1, 2), [1.5, 1.0, 1.0], {"spacing": [1.9, 1.3, 1.2]}),
    "turned": ((2, 0, 1), [1.5, 1.0, 1.0], {"spacing": [1.9, 1.3, 1.2]}),
    "thick planes": ((0, 1, 2), [8.0, 1.0, 1.0], {"spacing": [5.0, 1.3, 1.2]}),
    "thick planes of the last axis": ((2, 1, 0), [1.0, 1.0, 8.0], {"spacing": [6.0, 1.3, 1.2]}),
    "another function": (
        (1, 0, 2),
        [1.5, 1.0, 1.0],
        {
            "spacing": [1.9, 1.3, 1.2],
            "resampling_fn_probabilities": "resample_torch_fornnunet",
            "resampling_fn_probabilities_kwargs": {
                "is_seg": False,
                "force_separate_z": False,
                "memefficient_seg_resampling": False,
            },
        },
    ),
}


@pytest.mark.parametrize("is_regions", [False, True], ids=["labels", "regions"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_planes", [1, 5, 14])
def test_planes_are_those_of_nnunet(kind, n_planes, is_regions):
    forward, spacing, changes = KINDS[kind]
    model, which = model_of(forward, is_regions=is_regions, **changes)
    logits, properties = case_of(model, forward, spacing, len(which))
    decided, expected = nnunets(model, logits, properties, return_probabilities=True)
    output = NetworkOutput(model, logits, properties)
    assert output.shape == SCAN
    parts = [slice(first, min(first + n_planes, SCAN[0])) for first in range(0, SCAN[0], n_planes)]
    probabilities = torch.cat([output.probabilities(part) for part in parts], dim=1)
    np.testing.assert_allclose(probabilities.numpy(), expected, atol=STEP)
    assert np.mean(np.abs(probabilities.numpy() - expected)) < 1e-5
    alone = torch.cat([output.segmentation(part, which) for part in parts]).numpy()
    expected_alone = nnunets(model, logits, properties)
    for ours, theirs in ((alone, expected_alone), (decide_planes(probabilities, which).numpy(), decided)):
        unlike = np.asarray(ours, int) != np.asarray(theirs, int)
        if is_regions:
            margin = np.abs(expected - 0.5).min(axis=0)
        else:
            second, first = np.sort(expected, axis=0)[-2:]
            margin = first - second
        assert margin[unlike].max(initial=0) <= STEP
        assert unlike.mean() < 1e-3
    assert len(np.unique(alone)) == len(which.segmentation_values)


def test_a_network_of_planes_keeps_their_distance():
    model, _ = model_of((1, 0, 2), configuration="2d", spacing=[2.0, 1.0])
    assert shape_on_network(model, (10, 30, 20), (4.0, 1.0, 3.0)) == (30, 20, 60)
