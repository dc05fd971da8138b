"""Configurations derived from others by a few changes, which are checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnunet_ext.errors import UsageError
from nnunet_ext.networks.architecture import PER_DECODER_STAGE, PER_STAGE
from nnunet_ext.nnunet.model_folder import SEPARATOR
from nnunet_ext.nnunet.plans import Plans, refuse_faults

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
LEAST_EDGE = 4  # voxels of the deepest stage along its longest axis


@dataclass(frozen=True)
class Changes:
    """Values that a new configuration does not inherit from its parent; None for those that it does.

    Attributes:
        batch_size: patches in a batch.
        patch_size: voxels, in the order of the plans' axes.
        spacing: mm, in the order of the plans' axes.
        network: arguments of the network by name.
    """

    batch_size: int | None = None
    patch_size: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    network: Mapping[str, Any] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether anything is changed."""
        return bool(self.batch_size is not None or self.patch_size or self.spacing or self.network)


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A new configuration.

    Attributes:
        name: name of the configuration.
        entry: its entry in the plans: the parent's name and the values that differ.
        resolved: the configuration with all that it inherits.
        notes: consequences to know of, a sentence each, such as a need for preprocessing.
        needs_preprocessing: whether its data must be preprocessed before a training.
    """

    name: str
    entry: Mapping[str, Any]
    resolved: Mapping[str, Any]
    notes: tuple[str, ...]
    needs_preprocessing: bool


def derive(plans: Plans, parent: str, changes: Changes, name: str | None = None) -> Derived:
    """Derive a configuration from another one of the same plans.

    Args:
        plans: plans that hold the parent; they are left as they are.
        parent: name of the configuration to inherit from.
        changes: values that differ from the parent's.
        name: name of the new configuration; by default the parent's with the changes, as `3d_fullres_bs4`.

    Raises:
        UsageError: there is no such parent, or changes are not possible; names all faults at once.
    """
    old = plans.resolve(parent)
    if "architecture" not in old:
        raise UsageError(
            f"{plans.path} is of an old nnU-Net, without architectures. Plan the data set again."
        )
    name = name or default_name(parent, changes)
    entry: dict[str, Any] = {"inherits_from": parent}
    if changes.batch_size is not None:
        entry["batch_size"] = changes.batch_size
    if changes.patch_size:
        entry["patch_size"] = list(changes.patch_size)
    if changes.network:  # nnU-Net inherits an entry as a whole, so the entry must be complete
        architecture = old["architecture"]
        entry["architecture"] = architecture | {
            "arch_kwargs": architecture["arch_kwargs"] | dict(changes.network)
        }
    faults = [
        *_name_faults(name),
        *_size_faults(old | entry, old, changes),
        *_network_faults(old | entry, old, changes),
    ]
    refuse_faults(f"{name} cannot be derived from {parent}:", faults)
    if changes.spacing:
        entry |= _resampled(plans, name, old, changes.spacing)
    resolved = old | entry
    return Derived(
        name=name,
        entry=entry,
        resolved=resolved,
        notes=tuple(_notes(resolved, old, changes)),
        needs_preprocessing=bool(changes.spacing),
    )


def default_name(parent: str, changes: Changes) -> str:
    """Name of a derived configuration: `3d_fullres_bs4_ps96x128x128_sp2x0p8x0p8`."""
    parts = [parent]
    if changes.batch_size is not None:
        parts.append(f"bs{changes.batch_size}")
    if changes.patch_size:
        parts.append("ps" + "x".join(map(str, changes.patch_size)))
    if changes.spacing:
        parts.append("sp" + "x".join(f"{value:g}".replace(".", "p") for value in changes.spacing))
    if changes.network:
        parts.append("net")
    return "_".join(parts)


def divisors(strides: Sequence[Sequence[int] | int], n_axes: int) -> tuple[int, ...]:
    """Numbers by which a patch's axes must be divisible: the product of the strides along each axis."""
    product = [1] * n_axes
    for stride in strides:
        steps = [stride] * n_axes if isinstance(stride, int) else stride
        product = [p * step for p, step in zip(product, steps, strict=True)]
    return tuple(product)


def _name_faults(name: str) -> Iterator[str]:
    if not NAME.fullmatch(name) or SEPARATOR in name:
        yield f"the name {name!r} must be of letters, digits, _ . and -, without a double _"


def _size_faults(new: Mapping[str, Any], old: Mapping[str, Any], changes: Changes) -> Iterator[str]:
    n_axes = len(old["patch_size"])
    if changes.batch_size is not None and changes.batch_size < 1:
        yield f"batch size {changes.batch_size} is no number of patches"
    if changes.spacing and (len(changes.spacing) != n_axes or min(changes.spacing) <= 0):
        yield f"spacing {changes.spacing} must be {n_axes} sizes in mm above 0, as {tuple(old['spacing'])} is"
    patch = tuple(new["patch_size"])
    if len(patch) != n_axes or min(patch) < 1:
        yield f"patch size {patch} must be {n_axes} numbers of voxels, as {tuple(old['patch_size'])} is"
        return
    strides = new["architecture"]["arch_kwargs"].get("strides", [])
    try:
        by = divisors(strides, n_axes)
    except (TypeError, ValueError):
        yield f"strides {strides} must have {n_axes} numbers each"
        return
    for axis, (size, divisor) in enumerate(zip(patch, by, strict=True)):
        if size % divisor:
            low = size // divisor * divisor
            near = " or ".join(str(n) for n in (low, low + divisor) if n > 0)
            yield f"patch size {size} of axis {axis} is not divisible by {divisor}, its strides: take {near}"


def _network_faults(new: Mapping[str, Any], old: Mapping[str, Any], changes: Changes) -> Iterator[str]:
    arguments, known = new["architecture"]["arch_kwargs"], old["architecture"]["arch_kwargs"]
    for key in changes.network:
        if key not in known:
            yield f"the network has no argument {key!r}; it has {', '.join(known)}"
    n_stages = arguments.get("n_stages")
    for key in (*PER_STAGE, PER_DECODER_STAGE):
        value, wanted = arguments.get(key), n_stages
        if key == PER_DECODER_STAGE and isinstance(n_stages, int):
            wanted = n_stages - 1
        if isinstance(value, (list, tuple)) and len(value) != wanted:
            yield f"{key} has {len(value)} entries; {n_stages} stages want {wanted}"


def _resampled(plans: Plans, name: str, old: Mapping[str, Any], spacing: Sequence[float]) -> dict[str, Any]:
    """Entries that another spacing changes: spacing, folder of the data, and size of the median image."""
    ratio = [before / after for before, after in zip(old["spacing"], spacing, strict=True)]
    median = old.get("median_image_size_in_voxels")
    sizes = {} if median is None else {
        "median_image_size_in_voxels": [float(n * r) for n, r in zip(median, ratio, strict=True)]
    }  # fmt: skip
    return {"spacing": list(spacing), "data_identifier": f"{plans.name}_{name}", **sizes}


def _notes(new: Mapping[str, Any], old: Mapping[str, Any], changes: Changes) -> Iterator[str]:
    if changes.spacing:
        yield "another spacing needs data of its own: run the command below before a training"
    median = new.get("median_image_size_in_voxels")
    if median is not None:
        wide = [i for i, (p, m) in enumerate(zip(new["patch_size"], median, strict=True)) if p > 2 * m]
        if wide:
            yield f"along axis {wide[0]} the patch is more than twice the median image, the rest is padding"
    if changes.patch_size:
        by = divisors(new["architecture"]["arch_kwargs"].get("strides", []), len(new["patch_size"]))
        edges = [size // divisor for size, divisor in zip(new["patch_size"], by, strict=True)]
        if max(edges) < LEAST_EDGE:
            yield f"the deepest stage sees {' x '.join(map(str, edges))} voxels; fewer stages may do better"
    if "previous_stage" in old:
        yield f"it is a stage of a cascade after {old['previous_stage']}, whose predictions it needs"
    if changes.batch_size == 1:
        yield "a batch of one patch makes batch Dice and the choice of foreground patches coarse"
