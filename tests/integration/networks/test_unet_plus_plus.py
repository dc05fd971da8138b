"""UNet++ against its figures, its topology written out, nnU-Net's networks and MONAI's UNet++."""

from __future__ import annotations

import json
import pickle
from itertools import product

import pytest

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

import torch
from networks import UNEVEN, UNEVEN_SHAPE, arch_kwargs, build, on_meta, residual, scan, uneven
from torch.nn import functional

IN_3D, IN_2D = (32, 64, 128, 256, 320, 320), (32, 64, 128, 256, 512, 512)
FLAT_FIRST = {
    "kernel_sizes": [[1, 3, 3], *[[3, 3, 3]] * 5],
    "strides": [[1, 1, 1], [1, 2, 2], *[[2, 2, 2]] * 4],
}
# nodes, parameters, parameters of the plain U-Net; input and elements of convolutions
GOLDEN = {
    "3d": (arch_kwargs(IN_3D), 15, 45_968_266, 31_195_594, (128, 128, 128), 1_452_089_344),
    "2d": (arch_kwargs(IN_2D, 2), 15, 25_982_858, 20_619_082, (512, 512), 238_288_896),
    "3d flat first": (
        arch_kwargs(IN_3D, **FLAT_FIRST), 15, 45_447_498, 31_113_098, (32, 160, 160), 680_608_000,
    ),
    "3d 5 stages": (arch_kwargs(IN_3D[:5]), 10, 20_171_240, 16_547_592, None, None),
    "3d 4 stages": (arch_kwargs(IN_3D[:4]), 6, 6_393_094, 5_602_950, None, None),
    "2d 8 stages": (arch_kwargs((*IN_2D, 512, 512), 2), 28, 96_027_726, 46_324_558, None, None),
}  # fmt: skip

every_golden = pytest.mark.parametrize("key", GOLDEN)
PEERS = {"UNetPlusPlus": "PlainConvUNet", "ResidualEncoderUNetPlusPlus": "ResidualEncoderUNet"}
every_encoder = pytest.mark.parametrize("name", PEERS)
every_supervision = pytest.mark.parametrize("supervision", ["nested", "pyramid"])


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@every_golden
def test_nodes_and_parameters_are_those_of_the_paper(key):
    kwargs, n_nodes, n_nested, n_plain, *_ = GOLDEN[key]
    network = on_meta(kwargs)
    assert len(network.decoder.nodes) == n_nodes
    assert n_parameters(network) == n_nested
    assert n_parameters(on_meta(kwargs, "PlainConvUNet")) == n_plain


@pytest.mark.parametrize("key", ["3d", "2d", "3d flat first"])
def test_elements_of_convolutions_are_counted(key):
    kwargs, *_, shape, n_elements = GOLDEN[key]
    assert on_meta(kwargs, deep_supervision=True).compute_conv_feature_map_size(shape) == n_elements


@every_supervision
@every_encoder
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_the_count_of_elements_is_what_the_convolutions_put_out(name, supervision, deep_supervision):
    network = uneven(name, deep_supervision, supervision=supervision)
    elements = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            module.register_forward_hook(lambda _, __, output: elements.append(output.numel()))
    network(scan())
    assert network.compute_conv_feature_map_size(UNEVEN_SHAPE) == sum(elements)


def reference(network, image, strides, kernels, n_convs_of_level):
    """All nodes X(i, j) of a UNet++ with a plain encoder, one diagonal i + j after the other."""
    weights = network.state_dict()

    def convolved(x, key, kernel, stride=1):
        x = functional.conv3d(
            x, weights[f"{key}.conv.weight"], weights[f"{key}.conv.bias"], stride,
            padding=[(size - 1) // 2 for size in kernel],
        )  # fmt: skip
        x = functional.instance_norm(
            x, weight=weights[f"{key}.norm.weight"], bias=weights[f"{key}.norm.bias"]
        )
        return functional.leaky_relu(x, 0.01)

    x = {}
    for total in range(len(strides)):
        for j in range(total + 1):
            i = total - j
            if j == 0:
                made = image if i == 0 else x[i - 1, 0]
                for n in range(2):
                    stride = strides[i] if n == 0 else 1
                    made = convolved(made, f"encoder.stages.{i}.0.convs.{n}", kernels[i], stride)
            else:
                key = f"decoder.nodes.{i}_{j}"
                up = functional.conv_transpose3d(
                    x[i + 1, j - 1], weights[f"{key}.transpconv.weight"],
                    weights[f"{key}.transpconv.bias"], strides[i + 1],
                )  # fmt: skip
                made = torch.cat([*(x[i, k] for k in range(j)), up], dim=1)
                for n in range(n_convs_of_level[i]):
                    made = convolved(made, f"{key}.blocks.convs.{n}", kernels[i])
            x[i, j] = made

    def head(j, i):
        key = f"decoder.seg_layers.{j}"
        return functional.conv3d(x[i, j], weights[f"{key}.weight"], weights[f"{key}.bias"])

    return head


@every_supervision
def test_the_outputs_are_those_of_the_topology_written_out(supervision):
    network = uneven(supervision=supervision)
    head = reference(network, scan(2), UNEVEN["strides"], UNEVEN["kernel_sizes"], [3, 2, 1])
    for j, output in zip((3, 2, 1), network(scan(2)), strict=True):
        expected = head(j, 0 if supervision == "nested" else 3 - j)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


@every_encoder
def test_nested_heads_are_all_in_full_resolution(name):
    outputs = uneven(name)(scan(2))
    assert [tuple(output.shape) for output in outputs] == [(2, 3, *UNEVEN_SHAPE)] * 3


@every_encoder
def test_pyramid_heads_are_in_the_resolutions_of_nnunet(name):
    ours, theirs = uneven(name, supervision="pyramid")(scan(2)), uneven(PEERS[name])(scan(2))
    assert [output.shape for output in ours] == [output.shape for output in theirs]


@every_supervision
@every_encoder
def test_one_output_is_the_first_of_many(name, supervision):
    network = uneven(name, supervision=supervision)
    many = network(scan())
    network.decoder.deep_supervision = False
    assert torch.equal(network(scan()), many[0])


@every_encoder
def test_the_weights_have_the_same_names_whatever_the_flags(name):
    names = {
        (supervision, flag, nodes): list(
            uneven(name, flag, supervision=supervision, checkpoint_nodes=nodes).state_dict()
        )
        for supervision, flag, nodes in product(("nested", "pyramid"), (False, True), (False, True))
    }
    network = uneven(name)
    network.decoder.depth, network.decoder.mode = 1, "mean"
    assert all(one == list(network.state_dict()) for one in names.values())


@every_encoder
def test_the_weights_of_nnunets_encoder_are_taken_over_as_they_are(name):
    network, theirs = uneven(name), uneven(PEERS[name])
    prefix = "encoder."
    encoder = {k.removeprefix(prefix): v for k, v in theirs.state_dict().items() if k.startswith(prefix)}
    network.encoder.load_state_dict(encoder, strict=True)
    for ours, skip in zip(network.encode(scan()), theirs.encoder(scan()), strict=True):
        assert torch.equal(ours, skip)


def test_only_heads_have_seg_layers_in_their_names_and_the_encoder_has_one_name():
    names = uneven().state_dict()
    assert {name for name in names if ".seg_layers." in name} == {
        f"decoder.seg_layers.{j}.{kind}" for j in (1, 2, 3) for kind in ("weight", "bias")
    }
    assert not [name for name in names if "encoder" in name and not name.startswith("encoder.")]


@every_encoder
def test_the_places_that_other_tools_look_for_are_there(name):
    from dynamic_network_architectures.architectures.abstract_arch import test_submodules_loadable

    test_submodules_loadable(uneven(name))


@every_encoder
def test_nnunet_builds_it_from_json(name):
    kwargs = arch_kwargs((4, 8, 8), 2, supervision="pyramid", checkpoint_nodes=True)
    kwargs = residual(kwargs) if name.startswith("Residual") else kwargs
    network = build(json.loads(json.dumps(kwargs)), name, (3, 2))
    assert network.decoder.deep_supervision is False
    assert network(torch.zeros(2, 3, 8, 12)).shape == (2, 2, 8, 12)


def test_numbers_stand_for_lists():
    lists = arch_kwargs((4, 4, 4), 2)
    numbers = {
        "features_per_stage": 4,
        "kernel_sizes": 3,
        "n_conv_per_stage": 2,
        "n_conv_per_stage_decoder": 2,
    }
    one, other = build(lists), build(lists | numbers)
    image = torch.randn(1, 1, 8, 8)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(image), other(image))


@every_encoder
def test_the_first_weights_are_drawn_as_nnunet_draws_them(name):
    kwargs = arch_kwargs((8, 16, 16))
    network = build(residual(kwargs) if name.startswith("Residual") else kwargs, name)
    node = network.decoder.nodes["0_2"]
    fan_in = 3 * 8 * 27
    assert node.blocks.convs[0].conv.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
    assert not node.transpconv.bias.any()
    if name.startswith("Residual"):
        assert not network.encoder.stages[1].blocks[0].conv2.norm.weight.any()


@pytest.mark.parametrize(
    ("shape", "depth", "divisor"),
    [((8, 12, 20), 3, (4, 4, 8)), ((8, 10, 16), 3, (4, 4, 8)), ((8, 12, 18), 2, (2, 4, 4))],
)
def test_an_input_that_the_strides_do_not_divide_is_refused_with_both_numbers(shape, depth, divisor):
    network = uneven()
    network.decoder.depth = depth
    with pytest.raises(ValueError) as error:
        network(scan(shape=shape))
    assert str(shape) in str(error.value)
    assert str(divisor) in str(error.value)


def test_a_pruned_network_takes_inputs_that_only_its_own_strides_divide():
    network = uneven(deep_supervision=False)
    network.decoder.depth = 2
    assert network(scan(shape=(2, 4, 20))).shape[2:] == (2, 4, 20)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_conv_per_stage_decoder": [2, 2]}, "2 entries, .2, 2.: a network of 4 stages needs 3"),
        ({"supervision": "deep"}, "supervision is 'deep'"),
    ],
)
def test_a_wrong_plan_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        build(arch_kwargs((2, 2, 2, 2)) | changes)


def test_a_network_of_one_stage_is_refused():
    with pytest.raises(ValueError, match="2 stages or more, not 1"):
        build(arch_kwargs((2,)))


def test_a_pickled_network_gives_the_same():
    network = uneven()
    network.decoder.depth = 2
    again = pickle.loads(pickle.dumps(network))
    assert again.decoder.depth == 2
    for one, other in zip(network(scan()), again(scan()), strict=True):
        assert torch.equal(one, other)


def test_an_output_is_nobody_elses_memory():
    network = uneven(deep_supervision=False)
    with torch.inference_mode():
        first = network(scan())
        kept = first.clone()
        first += network(scan())
        assert torch.equal(network(scan()), kept)


def test_monai_agrees_on_the_nodes_and_heads():
    """Its levels 0 and 1 need equal features, and each level below twice those above, to be ours.

    Its encoder pools instead of striding, so its stages are made to put out what ours do.
    """
    nets = pytest.importorskip("monai.networks.nets")
    features = (4, 4, 8, 16, 32)
    network = build(arch_kwargs(features), channels=(2, 3), deep_supervision=True)
    theirs = nets.BasicUNetPlusPlus(
        3, 2, 3, (*features, features[0]), deep_supervision=True, act=("LeakyReLU", {"negative_slope": 0.01})
    )
    image = scan(shape=(32, 32, 48))
    for i, skip in enumerate(network.encode(image)):
        stage = getattr(theirs, f"conv_{i}_0")
        stage.register_forward_hook(lambda _, __, ___, skip=skip: skip)
    for key, node in network.decoder.nodes.items():
        theirs_of_node = list(getattr(theirs, f"upcat_{key}").parameters())
        for weight, given in zip(theirs_of_node, node.parameters(), strict=True):
            assert weight.shape == given.shape
            weight.data = given.data
    for j, head in network.decoder.seg_layers.items():
        getattr(theirs, f"final_conv_0_{j}").load_state_dict(head.state_dict())
    for ours, output in zip(network(image), theirs(image)[::-1], strict=True):
        torch.testing.assert_close(ours, output, rtol=1e-5, atol=1e-5)
