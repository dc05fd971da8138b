"""Checks of the metadata of the compact store, apart since they import pydantic."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
)

from nnunet_ext.files.documents import check_content
from nnunet_ext.nnunet.forms import Form, Length, Number, Size, Values, adapter_of, refuse_texts

Sizes = Annotated[list[Size], Field(min_length=1, max_length=4)]
Finite = Annotated[float, BeforeValidator(refuse_texts), Field(allow_inf_nan=False)]


class _StoredLabels(Form):
    names: list[StrictStr]
    values: list[Number]
    covered: list[Values]
    is_regions: StrictBool


class _StoredGeometry(Form):
    shape: Sizes
    spacing: list[Length]
    origin: list[Finite]
    direction: list[Finite]


class StoreMetadata(Form):
    """The metadata of a file of the compact store."""

    version: StrictInt
    shape: Annotated[list[Size], Field(min_length=3, max_length=4)]
    slab: Sizes
    block: Sizes
    summed: StrictBool
    crc32: Annotated[list[list[Annotated[StrictInt, Field(ge=0)]]], Field(min_length=1)]
    labels: _StoredLabels
    geometry: _StoredGeometry | None
    properties: dict[str, Any]
    model: dict[str, Any] | None


def check_store_metadata(content: Any) -> None:
    """Refuse metadata that are not those of a file of the store.

    Raises:
        ValueError: it is not; says of each fault where it is and what was found.
    """
    check_content(adapter_of(StoreMetadata), content)
