"""Optimizers by name: nnU-Net's own and those of timm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.settings.choices import OptimizerName


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """Options of an optimizer; the names are those of the settings.

    Attributes:
        initial_lr: learning rate of the first epoch.
        weight_decay: weight decay of all parameters, biases and norms included, as in nnU-Net.
        momentum: momentum, for optimizers that have one.
        betas: as many numbers as the optimizer has; None for its own.
        eps: added to a denominator; None for the optimizer's own.
    """

    initial_lr: float
    weight_decay: float
    momentum: float
    betas: tuple[float, ...] | None = None
    eps: float | None = None


def build_optimizer(
    name: OptimizerName, parameters: Iterable[torch.nn.Parameter], options: OptimizerOptions
) -> torch.optim.Optimizer:
    """Make an optimizer with one group of parameters.

    Args:
        name: `sgd` is nnU-Net's, with Nesterov's momentum; every other is made by timm.
        parameters: parameters to optimize.
        options: options that the optimizer does not have are ignored.

    Raises:
        SettingsError: the optimizer does not accept these values.
    """
    try:
        if name == "sgd":
            return torch.optim.SGD(
                parameters,
                options.initial_lr,
                weight_decay=options.weight_decay,
                momentum=options.momentum,
                nesterov=options.momentum > 0,
            )
        return _build_timm(name, list(parameters), options)
    except (TypeError, ValueError, AssertionError) as error:
        raise SettingsError(f"optimizer {name} does not take {options}: {error}") from error


def _build_timm(
    name: str, parameters: list[torch.nn.Parameter], options: OptimizerOptions
) -> torch.optim.Optimizer:
    from timm.optim import create_optimizer_v2, get_optimizer_info

    own: dict[str, Any] = {"betas": options.betas, "eps": options.eps}
    info = get_optimizer_info(name)
    if options.betas is not None and info.has_betas and len(options.betas) != info.num_betas:
        raise ValueError(f"it has {info.num_betas} betas, not {len(options.betas)}")
    return create_optimizer_v2(
        parameters,
        name,
        lr=options.initial_lr,
        weight_decay=options.weight_decay,
        momentum=options.momentum,
        **{key: value for key, value in own.items() if value is not None},
    )
