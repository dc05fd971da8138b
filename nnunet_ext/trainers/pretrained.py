"""Transfer of pretrained weights into a network, as far as they fit."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.transfer_table import TensorFate, Transfer

UNREADABLE = (
    OSError, RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError, ImportError,
    pickle.UnpicklingError,
)  # fmt: skip
HEADS = ".seg_layers."  # part of the names of heads, as in nnU-Net
CONVOLUTION_NDIM = 4  # output channels, input channels and at least two spatial axes
N_EXAMPLES = 3


@dataclass(frozen=True)
class PretrainedWeights:
    """The weights of a checkpoint.

    Attributes:
        path: file of the checkpoint.
        tensors: tensors by name, without the prefixes of wrappers; a tensor may have several names.
        dataset: dataset.json of the training that wrote the checkpoint; empty where it is unknown.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    dataset: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Inputs:
    """Input channels of a network: those of the scan, then in a cascade one for each label, one-hot."""

    n_image: int
    n_onehot: int

    @classmethod
    def of(cls, dataset: Mapping[str, Any], n_channels: int) -> _Inputs:
        n_image = len(dataset.get("channel_names", dataset.get("modality", ()))) or n_channels
        return cls(min(n_image, n_channels), max(0, n_channels - n_image))


@dataclass(frozen=True)
class _Step:
    """Plan for one tensor; `value` is copied to `target` where both are given."""

    fate: TensorFate
    target: torch.Tensor | None = None
    value: torch.Tensor | None = None


def read_pretrained(path: Path) -> PretrainedWeights:
    """Read the weights of a checkpoint of nnU-Net or this package, or of a file of named tensors only.

    Of a checkpoint with averaged weights the averaged ones are taken, with which its training predicts.

    Args:
        path: the file. As in nnU-Net, it must come from a trusted source: pickle can run code.

    Raises:
        SettingsError: the file is missing or damaged, or holds no weights.
    """
    try:
        content = torch.load(str(path), map_location="cpu", weights_only=False)
    except UNREADABLE as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        if (
            isinstance(error, OSError) and error.errno == errno.EINVAL
        ):  # torch seeks to before the beginning of a short file
            reason = f"it is truncated or damaged ({path.stat().st_size} bytes)"
        raise SettingsError(
            f"pretrained_weights is {path}, which cannot be read as a checkpoint: {reason}. "
            "Name a checkpoint, such as a fold's checkpoint_final.pth, or leave the setting out."
        ) from error
    named = content.get("network_weights", content) if isinstance(content, dict) else {}
    tensors = {_bare(name): one for name, one in named.items() if isinstance(one, torch.Tensor)}
    if not tensors:
        raise SettingsError(
            f"pretrained_weights is {path}, which holds no network_weights: is it a checkpoint of nnU-Net?"
        )
    return PretrainedWeights(path, tensors, _dataset_of(content))


def _dataset_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read the dataset.json of the training that wrote a checkpoint; empty where it is not recorded."""
    arguments = checkpoint.get("init_args")
    dataset = arguments.get("dataset_json") if isinstance(arguments, dict) else None
    return dataset if isinstance(dataset, dict) else {}


def _bare(name: str) -> str:
    """Remove from a name what torch.compile (anywhere) and parallel wrappers (in front) add to it."""
    name = name.replace("_orig_mod.", "")
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def transfer(weights: PretrainedWeights, network: torch.nn.Module, dataset: Mapping[str, Any]) -> Transfer:
    """Load the weights that fit a network by name and shape.

    A tensor with several names, as most of nnU-Net's have, counts once. The first convolution is reshaped if
    it has other input channels. Heads are loaded only if both data sets have the same labels; otherwise their
    channels mean other labels even where the shape is the same.

    Args:
        weights: weights to load.
        network: network without wrappers; changed in place, and only if the weights of a layer fit.
        dataset: dataset.json of this training.

    Raises:
        SettingsError: the weights of no layer fit. Biases and norms alone do not count: they often fit by
            chance, as between a 2D and a 3D network.
    """
    steps = list(_steps(weights, network, dataset))
    if not any(step.target is not None and step.target.ndim > 1 for step in steps):
        raise SettingsError(_nothing_fits(weights, network))
    with torch.no_grad():
        for step in steps:
            if step.target is not None and step.value is not None:
                step.target.copy_(step.value)
    return Transfer(str(weights.path), tuple(step.fate for step in steps))


def _steps(
    weights: PretrainedWeights, network: torch.nn.Module, dataset: Mapping[str, Any]
) -> Iterator[_Step]:
    mine = list(_named_once(network.state_dict()))
    same_labels = bool(weights.dataset) and _labels(weights.dataset) == _labels(dataset)
    first = next((names[0] for names, tensor in mine if tensor.ndim >= CONVOLUTION_NDIM), None)
    for names, target in mine:
        given = next((name for name in names if name in weights.tensors), None)
        name, here = names[0], tuple(target.shape)
        if given is None:
            yield _Step(TensorFate("only here", name, here))
            continue
        value, there = weights.tensors[given], tuple(weights.tensors[given].shape)
        if HEADS in f".{given}" and not same_labels:
            yield _Step(TensorFate("other labels", name, here, there))
        elif name == first and (adapted := _adapted(value, weights.dataset, target, dataset)) is not None:
            yield _Step(TensorFate("reshaped", name, here, there), target, adapted)
        elif here == there:
            yield _Step(TensorFate("loaded", name, here, there), target, value)
        else:
            yield _Step(TensorFate("other shape", name, here, there))
    known = {name for names, _ in mine for name in names}
    for names, tensor in _named_once(weights.tensors):
        if known.isdisjoint(names):
            yield _Step(TensorFate("only there", names[0], there=tuple(tensor.shape)))


def _named_once(tensors: Mapping[str, Any]) -> Iterator[tuple[list[str], torch.Tensor]]:
    """List each tensor with all its names; names that share memory are those of one tensor."""
    groups: dict[Any, tuple[list[str], torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor):
            place = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name
            groups.setdefault(place, ([], tensor))[0].append(name)
    yield from groups.values()


def _labels(dataset: Mapping[str, Any]) -> tuple[Any, Any]:
    """The labels or regions that the heads stand for, and the order of regions."""
    return dataset.get("labels"), dataset.get("regions_class_order")


def _adapted(
    weight: torch.Tensor, dataset_there: Mapping[str, Any], target: torch.Tensor, dataset: Mapping[str, Any]
) -> torch.Tensor | None:
    """Adapt the first convolution to other input channels; None if these are the same or other axes differ.

    Each channel of the scan gets the mean over the checkpoint's channels, times their number there over their
    number here, so that equal channels give the same output as before. The weights of a cascade's labels are
    kept if the labels are the same. Otherwise they begin at zero, so that the network begins like one without
    these inputs.

    Source: Carreira and Zisserman, Quo Vadis, 2017, for time; timm's `adapt_input_conv`, for channels.
    """
    if _but_for_inputs(weight) != _but_for_inputs(target):
        return None
    there = _Inputs.of(dataset_there, weight.shape[1])
    here = _Inputs.of(dataset, target.shape[1])
    same_labels = _labels(dataset_there) == _labels(dataset)
    if here == there and (same_labels or not here.n_onehot):
        return None
    image, onehot = weight[:, : there.n_image], weight[:, there.n_image :]
    if here.n_image != there.n_image:
        mean = image.float().mean(1, keepdim=True) * (there.n_image / here.n_image)
        image = mean.expand(-1, here.n_image, *mean.shape[2:])
    if not (same_labels and here.n_onehot == there.n_onehot):
        onehot = image.new_zeros(len(image), here.n_onehot, *image.shape[2:])
    return torch.cat([image, onehot.to(image.dtype)], 1)


def _but_for_inputs(weight: torch.Tensor) -> tuple[int, ...]:
    return tuple(weight.shape[:1] + weight.shape[2:])


def _nothing_fits(weights: PretrainedWeights, network: torch.nn.Module) -> str:
    return (
        f"pretrained_weights is {weights.path}, of which nothing fits this network. Here: "
        f"{_examples(_named_once(network.state_dict()))}. There: {_examples(_named_once(weights.tensors))}. "
        "Name a checkpoint of a network like this one, or leave the setting out."
    )


def _examples(tensors: Iterable[tuple[list[str], torch.Tensor]]) -> str:
    layers = [f"{names[0]} {tuple(tensor.shape)}" for names, tensor in tensors if tensor.ndim > 1]
    return ", ".join([*layers[:N_EXAMPLES], *(["…"] if len(layers) > N_EXAMPLES else [])]) or "no layers"
