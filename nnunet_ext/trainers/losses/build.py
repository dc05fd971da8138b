"""Construction of a loss from its name, options and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.helpers import softmax_helper_dim1
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch import nn

from nnunet_ext.errors import SettingsError, joined_faults
from nnunet_ext.trainers.losses.options import LOSS_NAMES, LossOptions
from nnunet_ext.trainers.losses.overlap import TverskyLoss, WeightedDiceLoss
from nnunet_ext.trainers.losses.voxelwise import FocalLoss, TopKLoss

SMOOTH = 1e-5  # nnU-Net's value
FOCAL_GAMMA = 2.0
FOCAL_TVERSKY_GAMMA = 4 / 3


class Loss(nn.Module):
    """A weighted sum of an overlap term and a voxelwise term, or one of them.

    Args:
        dc: overlap term, None for none. Its name is that of nnU-Net's losses, which its trainer compiles.
        ce: voxelwise term, None for none.
        dice_weight: weight of `dc`.
        term_weight: weight of `ce`.
        has_regions: whether targets hold regions; then an ignore mask is their last channel.
        ignore_label: label of voxels that do not count; None for none.
    """

    def __init__(
        self,
        *,
        dc: nn.Module | None,
        ce: nn.Module | None,
        dice_weight: float,
        term_weight: float,
        has_regions: bool,
        ignore_label: int | None,
    ) -> None:
        super().__init__()
        self.dc, self.ce = dc, ce
        self.dice_weight, self.term_weight = dice_weight, term_weight
        self.has_regions, self.ignore_label = has_regions, ignore_label

    def forward(self, net_output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss of one output of the network, a scalar in single precision.

        Args:
            net_output: logits `(B, C, …)` of any floating type.
            target: labels `(B, 1, …)`, or regions `(B, C, …)` of 0 and 1, with an ignore label one more
                channel that is 1 where it applies. A batch in which no voxel counts has the loss of a
                perfect one, without gradient: each term has its minimum (Dice -1, others 0).
        """
        # Half precision can neither sum a volume's voxels nor hold the logarithm of a small probability.
        logits = net_output.float()
        truth, mask = self._split(target)
        total = logits.new_zeros(())
        for term, weight in ((self.dc, self.dice_weight), (self.ce, self.term_weight)):
            if term is not None:
                total = total + weight * term(logits, truth, mask)
        return total

    def _split(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Split a target into labels or regions, and a mask `(B, 1, …)` that is true where voxels count."""
        if self.ignore_label is None:
            return target, None
        if self.has_regions:
            return target[:, :-1], ~target[:, -1:].bool()
        mask = target != self.ignore_label
        return torch.where(mask, target, 0), mask


@dataclass(frozen=True)
class _Request:
    """Labels and options from which a loss is built."""

    labels: LabelManager
    batch_dice: bool
    is_ddp: bool
    options: LossOptions

    @property
    def foreground_weights(self) -> tuple[float, ...] | None:
        """Weights of the foreground labels or regions; None for equal ones."""
        weights = self.options.label_weights
        return None if weights is None else weights[-_n_foreground(self.labels) :]

    @property
    def channel_weights(self) -> tuple[float, ...] | None:
        """Weights of the channels of the network's output; None for equal ones."""
        weights = self.options.label_weights
        if weights is None or len(weights) == self.labels.num_segmentation_heads:
            return weights
        return (1.0, *weights)

    def sum_of(self, dc: nn.Module | None, ce: nn.Module | None) -> Loss:
        """Make the weighted sum of both terms; a term of weight 0 is left out."""
        dice_weight, term_weight = self.options.dice_weight, self.options.term_weight
        return self.loss(dc if dice_weight else None, ce if term_weight else None, dice_weight, term_weight)

    def loss(
        self, dc: nn.Module | None, ce: nn.Module | None, dice_weight: float = 1.0, term_weight: float = 1.0
    ) -> Loss:
        """Make the module of these terms."""
        return Loss(
            dc=dc,
            ce=ce,
            dice_weight=dice_weight,
            term_weight=term_weight,
            has_regions=self.labels.has_regions,
            ignore_label=self.labels.ignore_label,
        )


def build_loss(
    name: str,
    *,
    label_manager: LabelManager,
    batch_dice: bool,
    is_ddp: bool,
    options: LossOptions = LossOptions(),  # noqa: B008
) -> nn.Module:
    """Build a loss by its name.

    Args:
        name: one of `LOSS_NAMES`. Losses with Dice are the negative Dice of nnU-Net plus a second term,
            from -1 to infinity. "focal" is at least 0, "tversky" and "focal_tversky" are from 0 to 1.
            "dice_ce" is nnU-Net's own module unless labels have weights.
        label_manager: nnU-Net's labels, regions and ignore label.
        batch_dice: whether overlaps are counted over the whole batch, as the plans say.
        is_ddp: whether several ranks train; with `batch_dice` overlaps are counted over all ranks.
            Voxelwise terms are computed by each rank alone, as nnU-Net's cross-entropy is.
        options: weights and parameters.

    Returns:
        A module that is called as `loss(net_output, target)` for one resolution and returns a scalar. With
        weights of labels it must be moved to the network's device.

    Raises:
        SettingsError: names all faults at once: an unknown name, options out of range, another number of
            weights than of labels.
    """
    faults = [*_name_faults(name, options), *options.faults(), *_label_faults(label_manager, options)]
    if faults:
        raise SettingsError(joined_faults("The loss cannot be built.", faults))
    return _BUILDERS[name](_Request(label_manager, batch_dice, is_ddp, options))


def _name_faults(name: str, options: LossOptions) -> list[str]:
    if name not in LOSS_NAMES:
        return [f"there is no loss {name!r}; there are {', '.join(LOSS_NAMES)}"]
    if name == "focal_tversky" and options.focal_gamma == 0:
        return ["focal_gamma is 0, but focal_tversky takes its root: it must be above 0"]
    return []


def _label_faults(labels: LabelManager, options: LossOptions) -> list[str]:
    weights, n_foreground = options.label_weights, _n_foreground(labels)
    if weights is None:
        return []
    if len(weights) not in (n_foreground, labels.num_segmentation_heads):
        kind = "regions" if labels.has_regions else "foreground labels (and one more for the background)"
        names = ", ".join(name for name in labels.label_dict if name not in ("background", "ignore"))
        return [f"label_weights has {len(weights)} values, but there are {n_foreground} {kind}: {names}"]
    if not any(weights[-n_foreground:]):
        return [f"label_weights are {weights}, but one that is not the background's must be above 0"]
    return []


def _n_foreground(labels: LabelManager) -> int:
    return labels.num_segmentation_heads - (0 if labels.has_regions else 1)


def _dice(request: _Request) -> nn.Module:
    has_regions, weights = request.labels.has_regions, request.foreground_weights
    if weights is not None:
        return WeightedDiceLoss(
            has_regions=has_regions,
            batch_dice=request.batch_dice,
            is_ddp=request.is_ddp,
            label_weights=weights,
            smooth=SMOOTH,
        )
    return MemoryEfficientSoftDiceLoss(
        apply_nonlin=torch.sigmoid if has_regions else softmax_helper_dim1, **_dice_options(request)
    )


def _dice_options(request: _Request) -> dict[str, bool | float]:
    return {
        "batch_dice": request.batch_dice,
        "do_bg": request.labels.has_regions,
        "smooth": SMOOTH,
        "ddp": request.is_ddp,
    }


def _tversky_index(request: _Request, gamma: float) -> TverskyLoss:
    return TverskyLoss(
        has_regions=request.labels.has_regions,
        batch_dice=request.batch_dice,
        is_ddp=request.is_ddp,
        alpha=request.options.tversky_alpha,
        beta=request.options.tversky_beta,
        gamma=gamma,
        smooth=SMOOTH,
        label_weights=request.foreground_weights,
    )


def _focal_term(request: _Request, gamma: float | None) -> FocalLoss:
    return FocalLoss(
        gamma=FOCAL_GAMMA if gamma is None else gamma,
        has_regions=request.labels.has_regions,
        label_weights=request.channel_weights,
    )


def _dice_ce(request: _Request) -> nn.Module:
    # nnU-Net's modules take no weights for regions. Without the Dice they return no tensor for a batch in
    # which no voxel counts.
    if request.options.label_weights is None and request.options.dice_weight:
        return _plain_dice_ce(request)
    if request.labels.has_regions and request.labels.has_ignore_label:
        request = _summed_over_regions(request)
    return request.sum_of(_dice(request), _focal_term(request, gamma=0.0))


def _summed_over_regions(request: _Request) -> _Request:
    """Scale the second term as nnU-Net's `DC_and_BCE_loss` does with a mask, which sums over regions."""
    term_weight = request.options.term_weight * request.labels.num_segmentation_heads
    return replace(request, options=replace(request.options, term_weight=term_weight))


def _plain_dice_ce(request: _Request) -> nn.Module:
    """Build what nnU-Net's `nnUNetTrainer._build_loss` builds, with weights of the terms."""
    labels, options = request.labels, request.options
    weights = {"weight_ce": options.term_weight, "weight_dice": options.dice_weight}
    dice = {"soft_dice_kwargs": _dice_options(request), "dice_class": MemoryEfficientSoftDiceLoss}
    if labels.has_regions:
        return DC_and_BCE_loss({}, use_ignore_label=labels.ignore_label is not None, **weights, **dice)
    return DC_and_CE_loss(ce_kwargs={}, ignore_label=labels.ignore_label, **weights, **dice)


def _dice_focal(request: _Request) -> nn.Module:
    return request.sum_of(_dice(request), _focal_term(request, request.options.focal_gamma))


def _focal(request: _Request) -> nn.Module:
    return request.loss(None, _focal_term(request, request.options.focal_gamma))


def _tversky(request: _Request) -> nn.Module:
    return request.loss(_tversky_index(request, gamma=1.0), None)


def _focal_tversky(request: _Request) -> nn.Module:
    gamma = request.options.focal_gamma
    return request.loss(_tversky_index(request, FOCAL_TVERSKY_GAMMA if gamma is None else gamma), None)


def _dice_topk(request: _Request) -> nn.Module:
    term = TopKLoss(
        percent=request.options.topk_percent,
        has_regions=request.labels.has_regions,
        label_weights=request.channel_weights,
    )
    return request.sum_of(_dice(request), term)


_BUILDERS: dict[str, Callable[[_Request], nn.Module]] = {
    "dice_ce": _dice_ce,
    "dice_focal": _dice_focal,
    "focal": _focal,
    "tversky": _tversky,
    "focal_tversky": _focal_tversky,
    "dice_topk": _dice_topk,
}
