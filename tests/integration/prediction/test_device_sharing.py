import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from nnunet_ext.prediction.device_sharing import Device  # noqa: E402


class Card:
    """Memory for some models."""

    def __init__(self, room):
        self.room, self.there, self.moves = room, set(), []


class Model:
    def __init__(self, card, name, n_passes=2):
        self.card, self.name = card, name
        self.passes = [[{"weights": number}] for number in range(n_passes)]

    def logits(self, weights, data):
        if self.name not in self.card.there and len(self.card.there) >= self.card.room:
            raise torch.cuda.OutOfMemoryError("full")
        self.card.there.add(self.name)
        return data * weights[0]["weights"]

    def leave_device(self):
        if self.name in self.card.there:
            self.card.there.remove(self.name)
            self.card.moves.append(self.name)


def run(card, n_cases=2):
    device = Device([Model(card, name) for name in "abc"])
    data = np.ones((1, 2), np.float32)
    return [[float(one.max()) for one in device.logits(i, data)] for _ in range(n_cases) for i in range(3)]


def test_models_that_fit_stay_on_the_device():
    card = Card(room=3)
    assert run(card) == [[0.0, 1.0]] * 6
    assert card.there == set("abc") and card.moves == []


@pytest.mark.parametrize("room", [1, 2])
def test_models_that_do_not_fit_together_take_turns(room):
    card = Card(room)
    assert run(card) == [[0.0, 1.0]] * 6
    assert len(card.there) == 1 and card.moves[-1] == "b"


def test_a_model_that_does_not_fit_alone_is_an_error():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run(Card(room=0))


def test_the_second_attempt_begins_with_nothing_left_of_the_first():
    kept, alive = [], []

    class Fails(Model):
        def logits(self, weights, data):
            alive.append(sum(one() is not None for one in kept))
            if not kept:
                activation = torch.zeros(10)
                kept.append(weakref.ref(activation))
                raise torch.cuda.OutOfMemoryError("full")
            return data

    card = Card(room=2)
    device = Device([Fails(card, "a", n_passes=1), Model(card, "b")])
    list(device.logits(0, np.ones((1, 2), np.float32)))
    assert alive == [0, 0]
