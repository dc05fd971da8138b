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

    def share_device(self, make_room):
        self.make_room = make_room

    def logits(self, weights, data):
        is_full = self.name not in self.card.there and len(self.card.there) >= self.card.room
        if is_full and (not self.make_room() or len(self.card.there) >= self.card.room):
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


def test_there_is_no_room_to_make_for_a_model_alone():
    card = Card(room=1)
    Device([model := Model(card, "a")])
    assert not model.make_room()
