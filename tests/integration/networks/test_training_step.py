"""What a training asks of UNet++: gradients, less memory, mixed precision, compilation and two ranks."""

from __future__ import annotations

import os
import socket

import pytest
import warm

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

import torch
from networks import arch_kwargs, build, residual, scan, uneven
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

N_RANKS = 2
EVERY_FORM = ("nested", "pyramid")

every_form = pytest.mark.parametrize("supervision", EVERY_FORM)
every_encoder = pytest.mark.parametrize("name", ["UNetPlusPlus", "ResidualEncoderUNetPlusPlus"])


def loss_of(outputs):
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return sum(output.float().square().mean() for output in outputs)


def gradients(network, image):
    """The gradient of every parameter, None where there is none."""
    network.zero_grad(set_to_none=True)
    loss_of(network(image)).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


@every_form
@every_encoder
def test_with_deep_supervision_every_parameter_has_a_gradient(name, supervision):
    found = gradients(uneven(name, supervision=supervision), scan(2))
    assert not [name for name, gradient in found.items() if gradient is None]
    # What a norm shifts by its mean at once, the bias before it, has a slope of 0.
    flat = [name for name, gradient in found.items() if gradient is not None and not gradient.any()]
    assert not [name for name in flat if not name.endswith("conv.bias")]


@every_form
def test_without_deep_supervision_only_heads_that_are_not_asked_have_no_gradient(supervision):
    found = gradients(uneven(deep_supervision=False, supervision=supervision), scan())
    assert {name for name, gradient in found.items() if gradient is None} == {
        f"decoder.seg_layers.{j}.{kind}" for j in (1, 2) for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("settings", "frozen"),
    [
        ({"deep_supervision": True}, set()),
        ({"deep_supervision": False}, {"1", "2"}),
        ({"deep_supervision": False, "depth": 2}, {"1", "3"}),
        ({"deep_supervision": False, "mode": "mean"}, set()),
        ({"deep_supervision": True, "depth": 2}, {"3"}),
    ],
)
def test_heads_that_are_not_asked_can_be_frozen_and_thawed(settings, frozen):
    network = uneven(deep_supervision=False)
    network.freeze_unsupervised_heads()
    for name, value in settings.items():
        setattr(network.decoder, name, value)
    network.freeze_unsupervised_heads()
    still = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert still == {f"decoder.seg_layers.{j}.{kind}" for j in frozen for kind in ("weight", "bias")}


@every_form
def test_checkpointed_nodes_have_the_same_gradients_and_keep_less(supervision):
    def run(**changes):
        network = uneven(supervision=supervision, **changes)
        kept = {}

        def pack(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = loss_of(network(scan(2)))
        loss.backward()
        of_parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        n_bytes = sum(
            tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in of_parameters
        )
        return [parameter.grad for parameter in network.parameters()], n_bytes

    (plain, n_plain), (checkpointed, n_checkpointed) = run(), run(checkpoint_nodes=True)
    for one, other in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(one, other)
    assert n_checkpointed < n_plain / 2


def test_a_checkpointed_dropout_is_drawn_once():
    dropout = {"dropout_op": "torch.nn.Dropout3d", "dropout_op_kwargs": {"p": 0.5}}
    found = []
    for checkpoint_nodes in (False, True):
        network = uneven(checkpoint_nodes=checkpoint_nodes, **dropout)
        torch.manual_seed(1)
        found.append(gradients(network, scan()))
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], msg=lambda text, name=name: f"{name}: {text}")


@every_form
def test_mixed_precision_gives_half_precision_near_the_full(supervision):
    network = uneven(supervision=supervision)
    with torch.autocast("cpu", torch.bfloat16):
        halves = network(scan())
    assert {output.dtype for output in halves} == {torch.bfloat16}
    loss_of(halves).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    for half, full in zip(halves, network(scan()), strict=True):
        assert (half - full).abs().mean() < 0.05 * full.abs().mean()


def compiled_pair(name="UNetPlusPlus", **changes):
    """A small network, and the same one compiled, which fails where its graph would break."""
    torch._dynamo.reset()
    kwargs = arch_kwargs((2, 3, 4), 2, n_conv_per_stage=1, n_conv_per_stage_decoder=1, **changes)
    network = build(residual(kwargs) if name.startswith("Residual") else kwargs, name, deep_supervision=True)
    return network, torch.compile(network, backend="eager", fullgraph=True)


@pytest.mark.parametrize("changes", [{}, {"checkpoint_nodes": True}, {"supervision": "pyramid"}])
def test_it_compiles_to_one_graph(changes):
    network, compiled = compiled_pair(**changes)
    image = torch.randn(2, 1, 8, 12)
    expected = gradients(network, image)
    found = gradients(compiled, image)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[f"_orig_mod.{name}"], gradient)


def test_a_residual_one_compiles_to_one_graph():
    network, compiled = compiled_pair("ResidualEncoderUNetPlusPlus")
    image = torch.randn(2, 1, 8, 12)
    for one, other in zip(compiled(image), network(image), strict=True):
        torch.testing.assert_close(one, other)


def test_compiled_it_follows_its_settings():
    network, compiled = compiled_pair()
    image = torch.randn(2, 1, 8, 12)
    for name, value in (("deep_supervision", False), ("depth", 1), ("depth", 2), ("mode", "mean")):
        setattr(network.decoder, name, value)
        torch.testing.assert_close(compiled(image), network(image))


def test_compiled_it_refuses_an_input_that_the_strides_do_not_divide():
    network, _ = compiled_pair()
    with pytest.raises(ValueError, match="not divisible by"):
        torch.compile(network, backend="eager")(torch.zeros(1, 1, 8, 10))


def _rank(rank, port, folder):
    """Two steps of each case, on a batch of its own."""
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=N_RANKS)
    torch.set_num_threads(1)
    weights = []
    for deep_supervision, supervision in ((True, "nested"), (True, "pyramid"), (False, "nested")):
        network = uneven(deep_supervision=deep_supervision, supervision=supervision)
        network.freeze_unsupervised_heads()
        wrapped = DistributedDataParallel(network)
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(trained, 1e-3)
        for step in range(2):
            optimizer.zero_grad()
            loss_of(wrapped(scan(N_RANKS, shape=(4, 8, 8))[rank : rank + 1] + step)).backward()
            optimizer.step()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    torch.save(weights, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def _alone(deep_supervision, supervision):
    """The same two steps in one process, on the mean of both ranks' losses."""
    network = uneven(deep_supervision=deep_supervision, supervision=supervision)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    for step in range(2):
        optimizer.zero_grad()
        for image in scan(N_RANKS, shape=(4, 8, 8)).split(1):
            (loss_of(network(image + step)) / N_RANKS).backward()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.slow
def test_two_ranks_train_every_weight_that_is_supervised(tmp_path):
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    warm.run_ranks(_rank, N_RANKS, port, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(N_RANKS))
    cases = ((True, "nested"), (True, "pyramid"), (False, "nested"))
    for one, other, case in zip(first, second, cases, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one, _alone(*case), rtol=1e-4, atol=1e-5)
