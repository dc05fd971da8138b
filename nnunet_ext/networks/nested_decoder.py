"""Decoder of a UNet++: the nested nodes above the encoder, and the segmentation heads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from dynamic_network_architectures.building_blocks.helper import get_matching_convtransp
from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import nn
from torch.utils.checkpoint import checkpoint

Supervision = Literal["nested", "pyramid"]
Mode = Literal["branch", "mean"]


class Node(nn.Module):
    """Node X(i, j): convolutions of X(i, 0), …, X(i, j - 1) and the upsampled X(i + 1, j - 1), concatenated.

    Args:
        encoder: encoder that gives channels, strides, kernels and the kinds of layers.
        level: i, 0 at full resolution.
        column: j, 1 or more.
        n_convs: number of convolutions.
        nonlin_first: whether the nonlinearity comes before the norm.
    """

    def __init__(
        self,
        encoder: PlainConvEncoder | ResidualEncoder,
        level: int,
        column: int,
        n_convs: int,
        nonlin_first: bool,
    ) -> None:
        super().__init__()
        channels, stride = encoder.output_channels[level], encoder.strides[level + 1]
        self.transpconv = get_matching_convtransp(encoder.conv_op)(
            encoder.output_channels[level + 1], channels, stride, stride, bias=encoder.conv_bias
        )
        self.blocks = StackedConvBlocks(
            n_convs,
            encoder.conv_op,
            (column + 1) * channels,
            channels,
            encoder.kernel_sizes[level],
            1,
            encoder.conv_bias,
            encoder.norm_op,
            encoder.norm_op_kwargs,
            encoder.dropout_op,
            encoder.dropout_op_kwargs,
            encoder.nonlin,
            encoder.nonlin_kwargs,
            nonlin_first,
        )

    def forward(self, below: torch.Tensor, *beside: torch.Tensor) -> torch.Tensor:
        """Compute the node's output `(B, F_i, …)` from X(i + 1, j - 1) and X(i, 0) to X(i, j - 1)."""
        # The sum of one convolution per input would keep 28 % less memory for the backward pass of 5
        # stages, but take 15 % longer.
        return self.blocks(torch.cat((*beside, self.transpconv(below)), 1))


class NestedDecoder(nn.Module):
    """Nodes X(i, j) with i + j < N above an encoder of N stages, and a 1x1 convolution for each head.

    Nodes and heads are named by level and column, so a UNet++ of fewer stages has the same names. The
    encoder is not registered as a submodule: each of its weights would have two names.

    Args:
        encoder: encoder whose outputs `forward` takes.
        num_classes: channels of each head.
        n_conv_per_stage: convolutions of a node, one number a level from the lowest level with nodes up
            to level 0, as in nnU-Net's plans.
        deep_supervision: whether `forward` returns the logits of all heads.
        nonlin_first: whether the nonlinearity comes before the norm.
        supervision: "nested" puts heads on X(0, 1) to X(0, N - 1), all at full resolution; "pyramid" on
            the last node of each level, as in nnU-Net's own networks.
        checkpoint_nodes: discard a node's inner activations and compute them again in the backward pass.

    Attributes:
        deep_supervision: whether `forward` returns the logits of all heads, the deepest first, or of one.
        divisors: by depth, the numbers by which the input's shape must be divisible.

    Raises:
        ValueError: there are fewer than 2 stages, `n_conv_per_stage` does not have one entry for each level
            with nodes, or `supervision` is another word.

    Source: Zhou et al., UNet++: a nested U-Net architecture for medical image segmentation, DLMIA 2018,
    and UNet++: redesigning skip connections to exploit multiscale features in image segmentation, TMI
    2020.
    """

    def __init__(
        self,
        encoder: PlainConvEncoder | ResidualEncoder,
        num_classes: int,
        n_conv_per_stage: int | Sequence[int],
        deep_supervision: bool,
        *,
        nonlin_first: bool = False,
        supervision: Supervision = "nested",
        checkpoint_nodes: bool = False,
    ) -> None:
        super().__init__()
        deepest = len(encoder.output_channels) - 1
        n_convs = [n_conv_per_stage] * deepest if isinstance(n_conv_per_stage, int) else n_conv_per_stage
        if deepest < 1:
            raise ValueError(f"A UNet++ has 2 stages or more, not {deepest + 1}.")
        if len(n_convs) != deepest:
            raise ValueError(
                f"n_conv_per_stage_decoder has {len(n_convs)} entries, {list(n_convs)}: a network of "
                f"{deepest + 1} stages needs {deepest}, from the lowest level with nodes upwards."
            )
        if supervision not in ("nested", "pyramid"):
            raise ValueError(f'supervision is {supervision!r}: it can be "nested" or "pyramid".')
        self.deep_supervision, self.supervision = deep_supervision, supervision
        self.checkpoint_nodes, self.num_classes = checkpoint_nodes, num_classes
        self._deepest = self._depth = deepest
        self._mode: Mode = "branch"
        self._strides = [tuple(int(step) for step in stride) for stride in encoder.strides]
        self.divisors = list(
            itertools.accumulate(self._strides, lambda a, b: tuple(x * y for x, y in zip(a, b, strict=True)))
        )
        self.nodes = nn.ModuleDict(
            {
                f"{i}_{j}": Node(encoder, i, j, n_convs[deepest - 1 - i], nonlin_first)
                for j in range(1, deepest + 1)
                for i in range(deepest + 1 - j)
            }
        )
        self.seg_layers = nn.ModuleDict(
            {
                str(j): encoder.conv_op(encoder.output_channels[self._head_level(j)], num_classes, 1, 1, 0)
                for j in range(1, deepest + 1)
            }
        )

    def _head_level(self, column: int) -> int:
        return 0 if self.supervision == "nested" else self._deepest - column

    @property
    def depth(self) -> int:
        """Depth d of the output branch X(0, d); deeper stages and nodes are not computed.

        By default the number of stages less one, which is the only depth that "pyramid" has.

        Raises:
            ValueError: set to a depth that the network has no branch of.
        """
        return self._depth

    @depth.setter
    def depth(self, depth: int) -> None:
        shallowest = 1 if self.supervision == "nested" else self._deepest
        if not shallowest <= depth <= self._deepest:
            raise ValueError(
                f"depth is {depth}: this network of {self._deepest + 1} stages and {self.supervision} "
                f"supervision has branches of depth {shallowest} to {self._deepest}."
            )
        self._depth = depth

    @property
    def mode(self) -> Mode:
        """Output without deep supervision: of one "branch", or the "mean" of several.

        "branch" gives the logits of branch `depth`, "mean" the mean of the logits of branches 1 to `depth`.

        Raises:
            ValueError: set to another word, or to "mean" with "pyramid" supervision.
        """
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        modes = ("branch", "mean") if self.supervision == "nested" else ("branch",)
        if mode not in modes:
            raise ValueError(f"mode is {mode!r}: with {self.supervision} supervision it can be {modes}.")
        self._mode = mode

    def forward(self, skips: Sequence[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """Compute the logits of one output or, with deep supervision, of all heads, the deepest first.

        Args:
            skips: outputs of the encoder's stages 0 to `depth` at least, `(B, F_i, …)`.
        """
        depth = self._depth
        levels = [[skip] for skip in skips[: depth + 1]]
        last = []
        for j in range(1, depth + 1):
            for i in range(depth + 1 - j):
                # The level below has no node of this column yet: its last node is X(i + 1, j - 1).
                levels[i].append(self._node(i, j, levels[i + 1][-1], levels[i]))
            levels.pop()  # no later node reads the lowest level
            last.append(levels[-1][-1])
        outputs = levels[0][1:] if self.supervision == "nested" else last
        logits = [self.seg_layers[str(j)](outputs[j - 1]) for j in self.head_columns()]
        if self.deep_supervision:
            return logits
        return logits[0] if len(logits) == 1 else sum(logits[1:], start=logits[0]) / len(logits)

    def _node(self, i: int, j: int, below: torch.Tensor, beside: list[torch.Tensor]) -> torch.Tensor:
        node = self.nodes[f"{i}_{j}"]
        if self.checkpoint_nodes and torch.is_grad_enabled():
            return checkpoint(node, below, *beside, use_reentrant=False)
        return node(below, *beside)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the output elements of all convolutions in one call of `forward`, for a batch of 1.

        Args:
            input_size: spatial shape of the encoder's input.
        """
        sizes = []
        for stride in self._strides[: self._depth]:
            input_size = [int(size) // step for size, step in zip(input_size, stride, strict=True)]
            sizes.append(input_size)
        n_elements = 0
        for j in range(1, self._depth + 1):
            for i in range(self._depth + 1 - j):
                blocks = self.nodes[f"{i}_{j}"].blocks
                n_elements += int(blocks.compute_conv_feature_map_size(sizes[i]))
                n_elements += blocks.output_channels * math.prod(sizes[i])
        heads = [self._head_level(j) for j in self.head_columns()]
        return n_elements + sum(self.num_classes * math.prod(sizes[level]) for level in heads)

    def head_columns(self) -> list[int]:
        """Columns of the heads that `forward` computes, the deepest first."""
        one = not self.deep_supervision and self._mode == "branch"
        return [self._depth] if one else list(range(self._depth, 0, -1))
