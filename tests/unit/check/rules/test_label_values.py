from pathlib import Path

import pytest

from nnunet_ext.check.rules.label_values import check_label
from nnunet_ext.images.content import Content
from nnunet_ext.nnunet.raw import RawCase

CASE = RawCase("a", "Tr", {0: Path("a_0000.nii.gz")}, Path("a.nii.gz"))


def found(counts, dtype="uint8", allowed=frozenset({0, 1, 2})):
    values = list(counts or [0])
    content = Content(
        shape=(2, 2, 2),
        dtype=dtype,
        minimum=min(values),
        maximum=max(values),
        n_not_finite=0,
        digest="",
        counts=counts,
    )
    return [(finding.severity, finding.kind) for finding in check_label(CASE, CASE.label, content, allowed)]


@pytest.mark.parametrize(
    ("counts", "dtype", "expected"),
    [
        ({0: 7, 1: 1}, "uint8", []),
        ({0: 7, 1: 1}, "int16", []),
        ({0.0: 7, 1.0: 1}, "float32", [("note", "label_type")]),
        ({0: 7, 1: 1}, "int64", [("note", "label_type")]),
        ({0: 8}, "uint8", [("note", "no_foreground")]),
        ({0.0: 7, 1.0005: 1}, "float32", [("note", "inexact_label")]),
        # nnU-Net turns the label into an integer by cutting off: this 1 becomes 0
        ({0.0: 7, 0.9999999403953552: 1}, "float32", [("warning", "inexact_label")]),
        # float64 that single precision, in which nnU-Net reads, makes whole
        ({0.0: 7, 0.99999999: 1}, "float64", [("note", "inexact_label")]),
        ({0.0: 7, 0.4: 1}, "float32", [("error", "soft_mask")]),
        (None, "int16", [("error", "soft_mask")]),
        ({-1: 7, 1: 1}, "int16", [("error", "negative_label")]),
        ({0: 7, 9: 1}, "uint8", [("error", "unknown_label")]),
    ],
)
def test_what_is_harmless_is_a_note_and_what_is_not_has_a_name(counts, dtype, expected):
    assert found(counts, dtype) == expected


def test_without_a_dataset_json_any_label_is_known():
    assert found({0: 7, 9: 1}, allowed=None) == []
