"""Forms of nnU-Net's JSON files, by which their content is checked before it is used.

Entries that nnU-Net or this package read must have their types; other entries may be anything.

Source: `LabelManager`, `PlansManager`, `do_split` and `compute_metrics_on_folder` of nnU-Net.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
    TypeAdapter,
)

from nnunet_ext.files.documents import check_content, read_json

MAX_LABEL = 65535  # highest value that nnU-Net writes


def refuse_texts(value: Any) -> Any:
    """Refuse texts and truth values, which pydantic would convert to numbers."""
    if isinstance(value, (str, bool)):
        raise ValueError("a number is needed")
    return value


def _one_or_several(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _plain_name(text: str) -> str:
    """Refuse a name that would lead out of its folder."""
    if any(mark in text for mark in "/\\\0") or text in (".", ".."):
        raise ValueError("it must be a plain name, without / and \\")
    return text


def _ending(text: str) -> str:
    if not text.startswith(".") or len(text) < 2 or any(not c.isalnum() and c not in "._-" for c in text):
        raise ValueError("it must be the ending of files, such as .nii.gz")
    return text


Number = Annotated[int, BeforeValidator(refuse_texts), Field(ge=0, le=MAX_LABEL)]
Size = Annotated[int, BeforeValidator(refuse_texts), Field(gt=0)]
Length = Annotated[float, BeforeValidator(refuse_texts), Field(gt=0, allow_inf_nan=False)]
Values = Annotated[list[Number], BeforeValidator(_one_or_several), Field(min_length=1)]
PlainName = Annotated[StrictStr, AfterValidator(_plain_name)]


class Form(BaseModel):
    """A JSON object whose other entries may be anything."""

    model_config = ConfigDict(extra="allow")


class DatasetJson(Form):
    """A dataset.json of nnU-Net v2."""

    labels: dict[str, Values]
    file_ending: Annotated[StrictStr, AfterValidator(_ending)]
    channel_names: dict[str, Any] | None = None
    modality: dict[str, Any] | None = None
    regions_class_order: list[Number] | None = None
    overwrite_image_reader_writer: StrictStr | None = None


class _Architecture(Form):
    network_class_name: StrictStr
    arch_kwargs: dict[str, Any]


class _Configuration(Form):
    inherits_from: StrictStr | None = None
    previous_stage: StrictStr | None = None
    next_stage: list[StrictStr] | StrictStr | None = None
    data_identifier: PlainName | None = None
    patch_size: Annotated[list[Size], Field(min_length=2, max_length=3)] | None = None
    batch_size: Size | None = None
    spacing: Annotated[list[Length], Field(min_length=2, max_length=3)] | None = None
    median_image_size_in_voxels: list[Length] | None = None
    architecture: _Architecture | None = None


class PlansJson(Form):
    """A plans file of nnU-Net v2."""

    configurations: dict[PlainName, _Configuration]
    plans_name: PlainName | None = None
    dataset_name: PlainName | None = None
    image_reader_writer: StrictStr | None = None
    transpose_forward: list[Number] | None = None
    transpose_backward: list[Number] | None = None
    original_median_spacing_after_transp: list[Length] | None = None
    original_median_shape_after_transp: list[Length] | None = None


class FingerprintJson(Form):
    """A dataset_fingerprint.json of nnU-Net v2."""

    spacings: Annotated[list[list[Length]], Field(min_length=1)]
    shapes_after_crop: Annotated[list[list[Length]], Field(min_length=1)]
    foreground_intensity_properties_per_channel: dict[str, dict[str, float]]


class FoldForm(BaseModel):
    """A fold of a splits_final.json: the cases to train on, and those to validate on."""

    model_config = ConfigDict(extra="allow", strict=True)

    train: list[str]
    val: list[str]


class LabelMetrics(Form):
    """One label of one case in a summary.json, in voxels."""

    n_ref: Annotated[int, BeforeValidator(refuse_texts), Field(ge=0)]
    n_pred: Annotated[int, BeforeValidator(refuse_texts), Field(ge=0)]
    TP: Annotated[int, BeforeValidator(refuse_texts), Field(ge=0)]


class CaseMetrics(Form):
    """One case of a summary.json."""

    prediction_file: StrictStr
    reference_file: StrictStr | None = None
    metrics: dict[str, LabelMetrics]


class SummaryJson(Form):
    """A summary.json of nnU-Net v2."""

    metric_per_case: list[CaseMetrics]
    foreground_mean: dict[str, Any] | None = None


@cache
def adapter_of(form: Any) -> TypeAdapter[Any]:
    """The pydantic adapter of a form, made once."""
    return TypeAdapter(form)


def read_dataset_form(path: Path) -> dict[str, Any]:
    """Read a dataset.json, and check it.

    Raises:
        ValueError: it is damaged, or not what nnU-Net v2 reads.
        OSError: it does not exist, or cannot be opened now.
    """
    return _checked(path, check_dataset_form)


def check_dataset_form(content: Any) -> None:
    """Refuse a content that is no dataset.json of nnU-Net v2.

    Raises:
        ValueError: the content is none; the message names each fault with its place and value.
    """
    labels = content.get("labels") if isinstance(content, dict) else None
    if isinstance(labels, dict) and labels and all(_is_v1_label(*pair) for pair in labels.items()):
        value, name = next(iter(labels.items()))
        raise ValueError(
            f'its labels are those of nnU-Net v1, with the values first: write "{name}": {value} instead of '
            f'"{value}": "{name}", or convert the data set by nnUNetv2_convert_old_nnUNet_dataset'
        )
    check_content(adapter_of(DatasetJson), content)


def _is_v1_label(key: Any, value: Any) -> bool:
    return isinstance(key, str) and key.isdecimal() and isinstance(value, str) and not value.isdecimal()


def read_plans_form(path: Path) -> dict[str, Any]:
    """Read a plans file, and check it.

    Raises:
        ValueError: it is damaged, or not what nnU-Net v2 reads.
        OSError: it does not exist, or cannot be opened now.
    """
    return _checked(path, lambda content: check_content(adapter_of(PlansJson), content))


def read_fingerprint_form(path: Path) -> dict[str, Any]:
    """Read a dataset_fingerprint.json, and check it.

    Raises:
        ValueError: it is damaged, or not what nnU-Net v2 plans by.
        OSError: it does not exist, or cannot be opened now.
    """
    return _checked(path, lambda content: check_content(adapter_of(FingerprintJson), content))


def read_splits_form(path: Path) -> list[dict[str, Any]]:
    """Read the folds of a splits_final.json, and check them.

    Raises:
        ValueError: it is damaged, or no list of folds with `train` and `val`.
        OSError: it does not exist, or cannot be opened now.
    """
    return _checked(path, lambda content: check_content(adapter_of(list[FoldForm]), content))


def read_summary_form(path: Path) -> SummaryJson:
    """Read a summary.json of nnU-Net or of this package, and check it.

    Raises:
        ValueError: it is damaged, or has no voxel counts of cases.
        OSError: it does not exist, or cannot be opened now.
    """
    summary: SummaryJson = check_content(adapter_of(SummaryJson), read_json(path))
    for case in summary.metric_per_case:
        for label, one in case.metrics.items():
            if min(one.n_ref, one.n_pred) < one.TP:
                raise ValueError(
                    f"{case.prediction_file}, label {label}: TP is {one.TP}, more than n_ref {one.n_ref} or "
                    f"n_pred {one.n_pred}"
                )
    return summary


def _checked(path: Path, check: Callable[[Any], Any]) -> Any:
    content = read_json(path)
    check(content)
    return content
