"""Each optimizer by its name on a network of convolutions."""

from __future__ import annotations

from typing import get_args

import pytest

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.settings.choices import OptimizerName

# What needs apex, bitsandbytes, opt_einsum or second derivatives, older versions, other names of sgd.
NOT_OFFERED = ("fused", "bnb", "kron", "adahessian", "legacy", "nesterov")


def network():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.InstanceNorm2d(4, affine=True), torch.nn.Conv2d(4, 2, 1)
    )


def build(name, parameters, **options):
    from nnunet_ext.trainers.optimizers import OptimizerOptions, build_optimizer

    return build_optimizer(
        name,
        parameters,
        OptimizerOptions(**{"initial_lr": 1e-3, "weight_decay": 3e-5, "momentum": 0.9, **options}),
    )


def step(net, optimizer):
    import torch

    optimizer.zero_grad()
    net(torch.ones(2, 1, 8, 8).cumsum(-1)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_every_optimizer_changes_the_weights_and_goes_on_from_its_state(name):
    import torch

    net = network()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = build(name, net.parameters())
    assert len(optimizer.param_groups) == 1
    for _ in range(2):
        step(net, optimizer)
    pairs = list(zip(before, net.parameters(), strict=True))
    assert all(torch.isfinite(new).all() for _, new in pairs)
    assert any((old != new).any() for old, new in pairs)
    again = build(name, net.parameters())
    again.load_state_dict(optimizer.state_dict())
    step(net, again)
    assert all(torch.isfinite(parameter).all() for parameter in net.parameters())


def test_the_names_are_those_of_timm():
    from timm.optim import list_optimizers

    theirs = {name for name in list_optimizers() if not any(part in name for part in NOT_OFFERED)}
    assert theirs == set(get_args(OptimizerName))


def test_sgd_is_nnunets():
    import torch

    optimizer = build("sgd", network().parameters(), momentum=0.99)
    assert type(optimizer) is torch.optim.SGD
    theirs = torch.optim.SGD(network().parameters(), 1e-3, weight_decay=3e-5, momentum=0.99, nesterov=True)
    mine, its = ({k: v for k, v in o.param_groups[0].items() if k != "params"} for o in (optimizer, theirs))
    assert mine == its


def test_options_reach_the_optimizers_that_have_them():
    group = build("adamw", network().parameters(), betas=(0.8, 0.9), eps=1e-5).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (1e-3, 3e-5)
    assert (tuple(group["betas"]), group["eps"]) == ((0.8, 0.9), 1e-5)
    assert build("sgd", network().parameters(), betas=(0.8, 0.9), momentum=0).param_groups[0]["momentum"] == 0


def test_another_number_of_betas_is_refused():
    with pytest.raises(SettingsError, match=r"adan does not take .*it has 3 betas, not 2"):
        build("adan", network().parameters(), betas=(0.8, 0.9))
