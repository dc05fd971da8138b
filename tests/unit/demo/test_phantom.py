import numpy as np
import pytest

from nnunet_ext.demo.phantom import LABELS, phantom


def test_the_same_seed_gives_the_same_scan():
    first, second = phantom(3, True), phantom(3, True)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[2] == second[2]


def test_another_seed_gives_another_scan():
    assert phantom(3, True)[2] != phantom(4, True)[2]


@pytest.mark.parametrize("seed", range(16))
def test_every_label_asked_for_is_there_and_no_other(seed):
    for with_right, expected in ((True, set(LABELS.values())), (False, set(LABELS.values()) - {3})):
        scan, segmentation, geometry = phantom(seed, with_right)
        assert set(np.unique(segmentation).tolist()) == expected
        assert all((segmentation == value).sum() > 500 for value in expected)
        assert scan.shape == segmentation.shape == geometry.shape
        assert scan.dtype == np.float32
        assert segmentation.dtype == np.uint8


@pytest.mark.parametrize("seed", range(16))
def test_the_heart_is_whole_within_the_scan(seed):
    heart = phantom(seed, True)[1] > 0
    assert not any(heart.take(index, axis=axis).any() for axis in range(3) for index in (0, -1))


def test_the_grid_is_anisotropic_unequal_and_turned():
    geometry = phantom(0, True)[2]
    assert len(set(geometry.shape)) == 3
    assert geometry.spacing[0] > 3 * geometry.spacing[1]
    assert any(abs(value) > 1 for value in geometry.origin)
    direction = np.reshape(geometry.direction, (3, 3))
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(direction) == pytest.approx(1)
    assert np.abs(direction - np.eye(3)).max() > 0.05


def test_blood_is_brighter_than_muscle_and_the_scan_is_noisy():
    scan, segmentation, _ = phantom(1, True)
    blood, muscle = (scan[segmentation == LABELS[name]] for name in ("left_ventricle", "myocardium"))
    assert blood.mean() > 1.3 * muscle.mean()
    assert muscle.std() > 0.05 * muscle.mean()
    assert scan.min() >= 0
