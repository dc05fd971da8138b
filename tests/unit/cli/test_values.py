import argparse

import pytest

from nnunet_ext.cli.values import length_mm, number_between, positive_number, whole_number


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (whole_number(1), "1", 1),
        (number_between(0, 1), "1", 1.0),
        (number_between(0.1, 86400), "0.1", 0.1),
        (length_mm, "0", 0.0),
        (positive_number, "1e-3", 0.001),
    ],
)
def test_values_at_the_bounds_are_taken(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (whole_number(1), "0", "'0' is no whole number of 1 or more"),
        (whole_number(2), "-2", "no whole number of 2 or more"),
        (whole_number(1, "label, a whole number"), "1.5", "is no label, a whole number of 1 or more"),
        (number_between(0, 1), "1.001", "no number from 0 to 1"),
        (number_between(0.1, 86400, "number of seconds"), "nan", "no number of seconds from 0.1 to 86400"),
        (length_mm, "-1", "no length of 0 mm or more"),
        (length_mm, "inf", "no length of 0 mm or more"),
        (positive_number, "0", "no number above 0"),
        (positive_number, "a lot", "'a lot' is no number above 0"),
    ],
)
def test_other_values_are_refused_with_the_bounds(parse, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        parse(text)
