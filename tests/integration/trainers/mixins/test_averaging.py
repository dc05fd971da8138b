"""The moving average of a network's weights."""

from __future__ import annotations

import pytest


@pytest.fixture
def network():
    """One whose first layer has two names, as many of nnU-Net's layers have."""
    import torch

    first = torch.nn.Linear(2, 3)
    net = torch.nn.Sequential(first, torch.nn.BatchNorm1d(3))
    net.add_module("again", torch.nn.Sequential(first))
    return net


def copied(weights):
    return {name: value.clone() for name, value in weights.items()}


def same(weights, others):
    return all((weights[name] == others[name]).all() for name in weights)


def train(network, n_steps, average):
    import torch

    for i in range(n_steps):
        with torch.no_grad():
            network[0].weight.fill_(float(i))
        average.update()


def test_the_average_of_a_layer_with_two_names_is_taken_once_a_step(network):
    import torch

    from nnunet_ext.trainers.mixins.averaging import WeightAverage

    before = network[0].weight.detach().clone()
    average = WeightAverage(network, 0.5, n_steps=1000)
    train(network, 3, average)
    # The weights of the three steps were 0, 1 and 2; each halves what was there.
    torch.testing.assert_close(average.average["0.weight"], before / 8 + 0 / 8 + 1 / 4 + 2 / 2)
    assert average.n_steps == 1003


def test_showing_exchanges_all_weights_and_twice_is_nothing(network):
    from nnunet_ext.trainers.mixins.averaging import WeightAverage

    average = WeightAverage(network, 0.9, n_steps=10)
    train(network, 4, average)
    mean, trained = copied(average.average), copied(average.trained)
    assert not same(mean, trained)
    for shown in (True, True, False, False):
        average.show(shown)
        assert same(network.state_dict(), mean if shown else trained)
        assert same(average.average, mean)
        assert same(average.trained, trained)


def test_an_average_that_just_began_forgets_its_start(network):
    from nnunet_ext.trainers.mixins.averaging import WeightAverage

    average = WeightAverage(network, 0.999)
    train(network, 1, average)
    assert (average.average["0.weight"] == 0).all()
