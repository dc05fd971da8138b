import math

import pytest

from nnunet_ext.trainers.record import curves
from nnunet_ext.trainers.record.curves import (
    Curves,
    CurvesPicture,
    Throttle,
    best_epoch_of,
    draw_training_curves,
)
from nnunet_ext.trainers.record.history import RecordedEpoch


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def epochs(n, n_labels=2, nan=()):
    return tuple(
        RecordedEpoch(
            epoch=i,
            train_loss=0.5,
            val_loss=0.6,
            dice_mean=0.7,
            dice_average=0.7,
            dice=(math.nan if i in nan else 0.7,) * n_labels,
            learning_rate=0.01,
            seconds=60.0,
        )
        for i in range(n)
    )


def test_what_takes_a_second_is_due_after_a_hundred():
    clock = Clock()
    throttle = Throttle(0.01, clock)
    clock.now = 150.0
    assert throttle.is_due
    with throttle:
        clock.now = 152.0
    clock.now = 351.0
    assert not throttle.is_due
    clock.now = 352.0
    assert throttle.is_due


def test_the_picture_is_drawn_at_last_unless_nothing_is_new(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "draw_training_curves", lambda what, path: drawn.append(what))
    picture = CurvesPicture(tmp_path / "c.png", "title", ("a", "b"), Throttle(clock=Clock()))
    picture.draw(epochs(1), [0.7])
    assert drawn == []
    picture.draw(epochs(2), [0.7, 0.8], finish=True)
    picture.draw(epochs(2), [0.7, 0.8], finish=True)
    assert [(len(one.epochs), one.best_epoch) for one in drawn] == [(2, 1)]


@pytest.mark.parametrize(
    ("history", "best"),
    [([0.1, 0.9, 0.9], 1), ([math.nan, 0.2, math.nan], 1), ([math.nan], None), ([], None)],
)
def test_the_best_epoch_is_the_first_of_the_highest(history, best):
    assert best_epoch_of(history) == best


@pytest.mark.parametrize(("n_epochs", "n_labels", "nan"), [(1, 1, ()), (5, 2, (1, 3)), (4, 45, (0, 1, 2, 3))])
def test_any_training_gives_a_picture(tmp_path, n_epochs, n_labels, nan):
    labels = tuple(f"_label_{i} $x^{{" for i in range(n_labels))
    path = tmp_path / "curves.png"
    draw_training_curves(Curves("title", labels, epochs(n_epochs, n_labels, nan), None if nan else 0), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_pyplot_is_left_alone(tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 33.0}):
        draw_training_curves(Curves("title", ("a", "b"), epochs(2)), tmp_path / "curves.png")
        assert matplotlib.rcParams["font.size"] == 33.0
