"""Metadata of stored probabilities: labels, geometry, nnU-Net's properties and the model, as plain JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.dataset_json import Labels

TAG = "__type__"
# The voxels of each label in a training case: large, and kept in nnUNet_preprocessed as well.
LEFT_OUT = frozenset({"class_locations"})


@dataclass(frozen=True, kw_only=True)
class ModelOrigin:
    """The model that put out stored probabilities.

    Attributes:
        trainer: name of the trainer's class.
        plans: name of the plans.
        configuration: nnU-Net's configuration, such as `3d_fullres`.
        folds: folds by nnU-Net's names; several where their outputs were averaged.
        checkpoint: name of the checkpoint's file.
        checkpoint_sha256: SHA-256 of each fold's checkpoint; empty where it is not known.
    """

    trainer: str
    plans: str
    configuration: str
    folds: tuple[str, ...]
    checkpoint: str
    checkpoint_sha256: tuple[str, ...] = ()


@dataclass(frozen=True)
class About:
    """The metadata of stored probabilities.

    Attributes:
        labels: the labels that the channels stand for.
        geometry: of the scan, where its reader kept the axes of its file; None where it turned the scan,
            which the properties tell, or where the grid is not known.
        properties: nnU-Net's properties, for the conversion back to its files; plain values and arrays.
        model: the model that put the probabilities out; None where it is not known.
    """

    labels: Labels
    geometry: Geometry | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    model: ModelOrigin | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` converts back.

        Raises:
            ProbabilitiesError: a property is neither a plain value nor an array.
        """
        kept = {name: value for name, value in self.properties.items() if name not in LEFT_OUT}
        return {
            "labels": vars(self.labels),
            "geometry": vars(self.geometry) if self.geometry else None,
            "properties": as_plain(kept),
            "model": vars(self.model) if self.model else None,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> About:
        """Restore the metadata from what `as_json` returned.

        Raises:
            KeyError, TypeError, ValueError: the content is something else.
        """
        labels, geometry, model = content["labels"], content["geometry"], content["model"]
        return cls(
            Labels(
                tuple(labels["names"]),
                tuple(labels["values"]),
                tuple(map(tuple, labels["covered"])),
                labels["is_regions"],
            ),
            Geometry(**{name: tuple(values) for name, values in geometry.items()}) if geometry else None,
            from_plain(content["properties"]),
            _model(model) if model else None,
        )


def _model(content: Mapping[str, Any]) -> ModelOrigin:
    several = {name: tuple(content[name]) for name in ("folds", "checkpoint_sha256")}
    return ModelOrigin(**{**content, **several})


def as_plain(value: Any) -> Any:
    """Convert a value to plain JSON; types that JSON does not know are tagged.

    Raises:
        ProbabilitiesError: it is, or holds, something of another type.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [as_plain(item) for item in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {TAG: type(value).__name__, "items": [as_plain(item) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) and key != TAG for key in value):
            return {key: as_plain(item) for key, item in value.items()}
        return {TAG: "dict", "items": [[as_plain(key), as_plain(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        data = base64.b64encode(value.tobytes()).decode("ascii")
        return {TAG: "ndarray", "dtype": value.dtype.str, "shape": list(value.shape), "data": data}
    raise ProbabilitiesError(
        f"the properties hold a {type(value).__name__}, and only plain values and arrays are kept."
    )


def from_plain(plain: Any) -> Any:
    """Convert plain JSON back to the value that `as_plain` was given; an unknown tag is a KeyError."""
    if isinstance(plain, list):
        return [from_plain(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if TAG not in plain:
        return {key: from_plain(item) for key, item in plain.items()}
    if plain[TAG] == "ndarray":
        data = bytearray(base64.b64decode(plain["data"]))  # a copy that may be written to
        return np.frombuffer(data, np.dtype(plain["dtype"])).reshape(plain["shape"])
    kind = {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}[plain[TAG]]
    return kind(from_plain(item) for item in plain["items"])
