"""The table of what became of pretrained weights."""

import pytest

from nnunet_ext.trainers.transfer_table import TensorFate, Transfer

FATES = (
    TensorFate("reshaped", "encoder.stages.0.0.convs.0.conv.weight", (4, 2, 3, 3), (4, 1, 3, 3)),
    TensorFate("loaded", "encoder.stages.0.0.convs.0.conv.bias", (4,), (4,)),
    TensorFate("loaded", "encoder.stages.0.0.convs.1.conv.bias", (4,), (4,)),
    TensorFate("other shape", "decoder.seg_layers.0.weight", (2, 4, 1, 1), (3, 4, 1, 1)),
    TensorFate("only here", "decoder.seg_layers.0.bias", (2,)),
    TensorFate("only there", "projector.weight", there=(100, 20)),
)


def test_a_module_has_one_line_with_its_tensors_and_parameters():
    lines = Transfer("some.pth", FATES).lines()
    assert lines[0] == "Pretrained weights of some.pth:"
    assert [line.split("  ", 1)[0] for line in lines[1:6]] == [
        "tensors (parameters)",
        "encoder.stages.0",
        "decoder.seg_layers.0",
        "projector",
        "all",
    ]
    assert lines[2].split() == ["encoder.stages.0", "2", "(8)", "1", "(72)", "-", "-", "-"]
    assert lines[5].split() == ["all", "2", "(8)", "1", "(72)", "1", "(8)", "1", "(2)", "1", "(2,000)"]
    assert len({len(line) for line in lines[1:6]}) == 1


def test_changed_shapes_are_told():
    lines = Transfer("some.pth", FATES).lines()
    assert lines[6:] == [
        "reshaped: encoder.stages.0.0.convs.0.conv.weight, (4, 1, 3, 3) there, (4, 2, 3, 3) here",
        "other shape: decoder.seg_layers.0.weight, (3, 4, 1, 1) there, (2, 4, 1, 1) here",
    ]


def test_many_changed_shapes_are_not_all_told():
    fates = tuple(TensorFate("other shape", f"layer.{i}.weight", (2, 2), (3, 2)) for i in range(9))
    assert Transfer("some.pth", fates).lines()[-1] == "other shape: and 5 more"


def test_what_did_not_happen_has_no_column():
    heading = Transfer("some.pth", FATES[1:3]).lines()[1]
    assert heading.split("  ")[1:] == ["loaded"]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("encoder.stages.10.0.convs.0.norm.bias", "encoder.stages.10"),
        ("encoder.stem.convs.0.conv.weight", "encoder.stem.convs.0"),
        ("stem.norm.weight", "stem.norm"),
        ("scale", "scale"),
    ],
)
def test_a_module_is_named_down_to_its_first_number(name, module):
    assert TensorFate("loaded", name, (1,)).module == module


def test_a_tensor_without_axes_is_one_number():
    assert TensorFate("loaded", "norm.num_batches_tracked", (), ()).n_parameters == 1
