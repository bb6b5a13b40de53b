"""What is missing is missing, whatever library made it."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from driftline.events import MISSING_TEXTS, is_missing


@pytest.mark.parametrize(
    "value",
    [
        None,
        float("nan"),
        np.float32("nan"),
        np.datetime64("NaT"),
        np.timedelta64("NaT"),
        np.ma.masked,
        pd.NA,
        pd.NaT,
        Decimal("NaN"),
        Decimal("sNaN"),
        "   ",
        "\tNA ",
        *MISSING_TEXTS,
    ],
    ids=repr,
)
def test_a_missing_value_of_any_library_is_missing(value: object) -> None:
    assert is_missing(value)


@pytest.mark.parametrize(
    "value",
    [0, 0.0, False, "0", "none", "no", "Na", "NaN1", b"", float("inf"), 10**400, Decimal(1), [], {}, np.array([1, 2])],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_there_is_not_missing(value: object) -> None:
    assert not is_missing(value)


def test_texts_of_ones_own_replace_the_usual_ones_and_stand_for_numbers_too() -> None:
    own = ("", "-999", "unknown")
    assert [
        value for value in ("", "-999", -999, -999.0, np.float32(-999), "unknown") if not is_missing(value, own)
    ] == []
    assert [value for value in ("NA", "nan", -998, 999) if is_missing(value, own)] == []
    assert is_missing(float("nan"), ())  # no list makes NaN a value
