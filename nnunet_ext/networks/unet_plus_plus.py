"""UNet++ for nnU-Net's plans, 2D and 3D, with a plain or a residual encoder."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from dynamic_network_architectures.architectures.abstract_arch import AbstractDynamicNetworkArchitectures
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from dynamic_network_architectures.building_blocks.residual import BasicBlockD, BottleneckD
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from torch import nn

from nnunet_ext.networks.nested_decoder import NestedDecoder, Supervision


class _NestedNetwork(AbstractDynamicNetworkArchitectures):
    """Base of the UNet++ classes: encoder, then nested decoder."""

    encoder: PlainConvEncoder | ResidualEncoder
    decoder: NestedDecoder

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Compute logits `(B, num_classes, …)`; with deep supervision those of all heads, the deepest first.

        Args:
            x: `(B, input_channels, …)`; its shape must be divisible by the strides of the stages in use.

        Raises:
            ValueError: the shape is not divisible.
        """
        self._check_divisible(x.shape[2:])
        return self.decoder(self.encode(x))

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the outputs of the encoder's stages that the decoder needs; deeper stages are not run."""
        stem = getattr(self.encoder, "stem", None)
        if stem is not None:
            x = stem(x)
        skips = []
        for stage in itertools.islice(self.encoder.stages, self.decoder.depth + 1):
            x = stage(x)
            skips.append(x)
        return skips

    def _check_divisible(self, shape: Sequence[int]) -> None:
        # Plain integers: those of numpy would break the graph of torch.compile.
        divisor = self.decoder.divisors[self.decoder.depth]
        if any(size % step for size, step in zip(shape, divisor, strict=True)):
            raise ValueError(
                f"The input's shape {tuple(shape)} is not divisible by {divisor}, the product of the "
                f"strides of stages 0 to {self.decoder.depth}: pad the input to multiples of it."
            )

    def freeze_unsupervised_heads(self) -> None:
        """Exclude the heads that `forward` does not compute from the training.

        To be called before DistributedDataParallel wraps the network: it waits for the gradient of every
        trainable weight, and a head without a loss has none. The decoder's present `deep_supervision`,
        `depth` and `mode` decide which heads are computed.
        """
        asked = {str(column) for column in self.decoder.head_columns()}
        for column, head in self.decoder.seg_layers.items():
            head.requires_grad_(column in asked)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the output elements of all convolutions in one forward pass, for a batch of 1.

        Transposed convolutions and heads are included. The decoder's `deep_supervision`, `depth` and
        `mode` decide what is computed.

        Args:
            input_size: spatial shape of the input.
        """
        stem = getattr(self.encoder, "stem", None)
        n_elements = 0 if stem is None else int(stem.compute_conv_feature_map_size(input_size))
        shape = list(input_size)
        for i in range(self.decoder.depth + 1):
            stage = self.encoder.stages[i]
            blocks = stage[-1] if isinstance(stage, nn.Sequential) else stage
            n_elements += int(blocks.compute_conv_feature_map_size(shape))
            shape = [size // step for size, step in zip(shape, self.encoder.strides[i], strict=True)]
        return n_elements + self.decoder.compute_conv_feature_map_size(input_size)


class UNetPlusPlus(_NestedNetwork):
    """UNet++ with the encoder of `PlainConvUNet`.

    The arguments are those of `PlainConvUNet`, and two more:

    Args:
        supervision: "nested" puts heads on X(0, 1) to X(0, N - 1), all at full resolution. Such a network
            can be pruned, and needs a trainer that compares each output with the one full-resolution
            target, as nnUNetTrainerUNetPlusPlus does. "pyramid" puts heads on the last node of each
            level, which nnU-Net's own trainers can train.
        checkpoint_nodes: keep only the inputs of each node for the backward pass and compute its inner
            activations again: much less memory, more time. Batch norms then see each batch twice.

    Source: see `NestedDecoder`.
    """

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: int | Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: int | Sequence[int] | Sequence[Sequence[int]],
        strides: int | Sequence[int] | Sequence[Sequence[int]],
        n_conv_per_stage: int | Sequence[int],
        num_classes: int,
        n_conv_per_stage_decoder: int | Sequence[int],
        conv_bias: bool = False,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
        deep_supervision: bool = False,
        nonlin_first: bool = False,
        supervision: Supervision = "nested",
        checkpoint_nodes: bool = False,
    ) -> None:
        super().__init__()
        self.key_to_encoder = "encoder.stages"
        self.key_to_stem = "encoder.stages.0"
        self.keys_to_in_proj = (
            "encoder.stages.0.0.convs.0.all_modules.0",
            "encoder.stages.0.0.convs.0.conv",
        )
        self.encoder = PlainConvEncoder(
            input_channels,
            n_stages,
            features_per_stage,
            conv_op,
            kernel_sizes,
            strides,
            n_conv_per_stage,
            conv_bias,
            norm_op,
            norm_op_kwargs,
            dropout_op,
            dropout_op_kwargs,
            nonlin,
            nonlin_kwargs,
            return_skips=True,
            nonlin_first=nonlin_first,
        )
        self.decoder = NestedDecoder(
            self.encoder,
            num_classes,
            n_conv_per_stage_decoder,
            deep_supervision,
            nonlin_first=nonlin_first,
            supervision=supervision,
            checkpoint_nodes=checkpoint_nodes,
        )

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Set one module's weights as nnU-Net does; for `network.apply`."""
        PlainConvUNet.initialize(module)


class ResidualEncoderUNetPlusPlus(_NestedNetwork):
    """UNet++ with the encoder of `ResidualEncoderUNet`; its nodes are plain convolutions.

    The arguments are those of `ResidualEncoderUNet`, and `supervision` and `checkpoint_nodes` as for
    `UNetPlusPlus`.
    """

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: int | Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: int | Sequence[int] | Sequence[Sequence[int]],
        strides: int | Sequence[int] | Sequence[Sequence[int]],
        n_blocks_per_stage: int | Sequence[int],
        num_classes: int,
        n_conv_per_stage_decoder: int | Sequence[int],
        conv_bias: bool = False,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
        deep_supervision: bool = False,
        block: type[BasicBlockD] | type[BottleneckD] = BasicBlockD,
        bottleneck_channels: int | Sequence[int] | None = None,
        stem_channels: int | None = None,
        supervision: Supervision = "nested",
        checkpoint_nodes: bool = False,
    ) -> None:
        super().__init__()
        self.key_to_encoder = "encoder.stages"
        self.key_to_stem = "encoder.stem"
        self.keys_to_in_proj = ("encoder.stem.convs.0.conv", "encoder.stem.convs.0.all_modules.0")
        self.encoder = ResidualEncoder(
            input_channels,
            n_stages,
            features_per_stage,
            conv_op,
            kernel_sizes,
            strides,
            n_blocks_per_stage,
            conv_bias,
            norm_op,
            norm_op_kwargs,
            dropout_op,
            dropout_op_kwargs,
            nonlin,
            nonlin_kwargs,
            block,
            bottleneck_channels,
            return_skips=True,
            stem_channels=stem_channels,
        )
        self.decoder = NestedDecoder(
            self.encoder,
            num_classes,
            n_conv_per_stage_decoder,
            deep_supervision,
            supervision=supervision,
            checkpoint_nodes=checkpoint_nodes,
        )

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Set one module's weights as nnU-Net does; for `network.apply`."""
        ResidualEncoderUNet.initialize(module)
