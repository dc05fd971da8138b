"""Branches of a UNet++: what they give, what they cost, and as networks of their own."""

from __future__ import annotations

import copy
import json
import re

import pytest

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

import torch
from networks import arch_kwargs, build, on_meta, scan, uneven, uneven_kwargs
from torch.utils.flop_counter import FlopCounterMode

from nnunet_ext.pruning.model import pruned_arch_kwargs, pruned_state_dict

EVERY_DEPTH = (1, 2, 3)
IN_3D = arch_kwargs((32, 64, 128, 256, 320, 320))

every_depth = pytest.mark.parametrize("depth", EVERY_DEPTH)
every_encoder = pytest.mark.parametrize("name", ["UNetPlusPlus", "ResidualEncoderUNetPlusPlus"])


@every_depth
@every_encoder
def test_a_branch_is_the_full_networks_and_nothing_deeper_is_computed(name, depth):
    network = uneven(name)
    branch = network(scan())[3 - depth]
    ran = set()
    watched = {f"stage {i}": stage for i, stage in enumerate(network.encoder.stages)}
    for key, module in {**watched, **network.decoder.nodes, **network.decoder.seg_layers}.items():
        module.register_forward_hook(lambda *_, key=key: ran.add(key))
    network.decoder.deep_supervision, network.decoder.depth = False, depth
    assert torch.equal(network(scan()), branch)
    stages = {f"stage {i}" for i in range(depth + 1)}
    nodes = {f"{i}_{j}" for i in range(4) for j in range(1, 4) if i + j <= depth}
    assert ran == stages | nodes | {str(depth)}


@every_depth
def test_the_mean_is_that_of_the_logits_of_all_branches_up_to_the_depth(depth):
    network = uneven()
    branches = network(scan())[::-1]
    network.decoder.deep_supervision, network.decoder.mode, network.decoder.depth = False, "mean", depth
    torch.testing.assert_close(network(scan()), torch.stack(branches[:depth]).mean(0))


@every_depth
def test_deep_supervision_gives_the_branches_up_to_the_depth(depth):
    network = uneven()
    branches = network(scan())
    network.decoder.depth = depth
    for one, other in zip(network(scan()), branches[3 - depth :], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("depth", [0, 4, -1])
def test_a_depth_without_branch_is_refused(depth):
    network = uneven()
    with pytest.raises(ValueError, match=f"depth is {depth}: .*4 stages and nested .* 1 to 3"):
        network.decoder.depth = depth
    assert network.decoder.depth == 3


def test_a_pyramid_has_its_deepest_branch_only():
    decoder = uneven(supervision="pyramid").decoder
    decoder.depth, decoder.mode = 3, "branch"
    with pytest.raises(ValueError, match=r"depth is 2: .* pyramid .* 3 to 3"):
        decoder.depth = 2
    with pytest.raises(ValueError, match="mode is 'mean': with pyramid"):
        decoder.mode = "mean"


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode is 'median': with nested"):
        uneven().decoder.mode = "median"


def flops(network):
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 1, 128, 128, 128, device="meta"))
    return counter.get_total_flops()


def test_the_branches_cost_what_is_known_of_them():
    network = on_meta(IN_3D)
    full = flops(network)
    assert full // 10**9 == 4746
    shares = {}
    for depth in (1, 2, 3, 4):
        network.decoder.depth = depth
        shares[depth] = round(100 * flops(network) / full, 1)
    assert shares == {1: 11.9, 2: 26.5, 3: 46.2, 4: 70.8}


@pytest.mark.parametrize(("depth", "expected"), [(4, 20_170_400), (3, 6_392_736), (2, 1.48e6), (1, 0.295e6)])
def test_an_export_has_as_many_parameters_as_is_known(depth, expected):
    """Known without the biases of heads and transposed convolutions, for small ones in three digits."""
    network = on_meta(pruned_arch_kwargs(IN_3D, depth))
    left_out = re.compile(r".*(transpconv|seg_layers\.\d)\.bias")
    counted = sum(p.numel() for name, p in network.named_parameters() if not left_out.fullmatch(name))
    assert (counted if depth > 2 else float(f"{counted:.3g}")) == expected


@every_depth
@every_encoder
def test_an_export_needs_the_plan_only_and_gives_the_branch(name, depth):
    network = uneven(name, deep_supervision=False)
    kwargs = json.loads(json.dumps(pruned_arch_kwargs(uneven_kwargs(name), depth)))
    export = build(kwargs, name, (2, 3))
    export.load_state_dict(pruned_state_dict(network.state_dict(), depth), strict=True)
    for mode in ("branch", "mean"):
        network.decoder.mode = export.decoder.mode = mode
        network.decoder.depth = depth
        assert torch.equal(export(scan()), network(scan()))


def test_pruning_at_full_depth_changes_nothing():
    assert pruned_arch_kwargs(uneven_kwargs(), 3) == uneven_kwargs()
    weights = uneven().state_dict()
    assert list(pruned_state_dict(weights, 3)) == list(weights)


def test_the_plan_that_is_pruned_stays_as_it_is():
    kwargs = uneven_kwargs()
    kept = copy.deepcopy(kwargs)
    pruned_arch_kwargs(kwargs, 1)
    assert kwargs == kept


def test_numbers_that_stand_for_lists_stay_numbers():
    kwargs = uneven_kwargs(n_conv_per_stage=2) | {"kernel_sizes": 3, "n_conv_per_stage_decoder": 2}
    pruned = pruned_arch_kwargs(kwargs, 2)
    assert (pruned["n_conv_per_stage"], pruned["kernel_sizes"], pruned["n_conv_per_stage_decoder"]) == (
        2,
        3,
        2,
    )
    assert pruned["strides"] == kwargs["strides"][:3]


@pytest.mark.parametrize("depth", [0, 4])
def test_there_is_no_export_of_a_branch_that_is_not(depth):
    with pytest.raises(ValueError, match=f"depth is {depth}: .* 1 to 3"):
        pruned_arch_kwargs(uneven_kwargs(), depth)
    with pytest.raises(ValueError, match=f"depth is {depth}: .* 1 to 3"):
        pruned_state_dict(uneven().state_dict(), depth)


def test_a_pyramid_is_not_exported():
    with pytest.raises(ValueError, match="pyramid supervision cannot be pruned"):
        pruned_arch_kwargs(uneven_kwargs(supervision="pyramid"), 2)
