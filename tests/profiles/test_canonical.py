"""A file's rows in the canonical layout: the quick ways give what the general ones give."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from driftline.events import Kind, Schema, Task
from driftline.profiles import Columns, canonical
from driftline.profiles.reference import grid_for
from driftline.sketches import Grid

COLUMNS = Columns(time="t", score="s", prediction="p", label="y", features=("f",))
SCHEMA = Schema(Task.BINARY, {"f": Kind.CATEGORICAL}, ("0", "1"), "1")
WHOLE = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]


def rows(**columns: Any) -> pl.DataFrame:
    return canonical(pl.DataFrame(columns), COLUMNS, SCHEMA)


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
@given(data=st.data())
def test_whole_numbers_are_the_classes_of_their_names(dtype: Any, data: st.DataObject) -> None:
    small = st.integers(0 if dtype.is_unsigned_integer() else -128, 127)
    any_size = st.integers(dtype.min().pipe(pl.select).item(), dtype.max().pipe(pl.select).item())
    values = data.draw(st.lists(st.none() | small, max_size=600) | st.lists(st.none() | any_size, max_size=20))
    expected = [None if value is None else str(value) for value in values]
    found = rows(y=pl.Series(values, dtype=dtype), p=pl.Series(values, dtype=dtype), f=pl.Series(values, dtype=dtype))
    for column in ("label", "prediction", "feature.f"):
        assert (found[column].dtype, found[column].to_list()) == (pl.String, expected), column


@given(st.lists(st.none() | st.floats() | st.floats(0, 1), max_size=50), st.booleans())
def test_what_is_no_probability_is_no_score(values: list[float | None], single: bool) -> None:
    given_scores = pl.Series(values, dtype=pl.Float32 if single else pl.Float64).cast(pl.Float64)
    expected = [value if value is not None and 0.0 <= value <= 1.0 else None for value in given_scores]
    found = rows(s=given_scores.cast(pl.Float32) if single else given_scores)["score.1"]
    assert (found.dtype, found.to_list()) == (pl.Float64, expected)


@pytest.mark.parametrize(
    "dtype", [pl.Datetime("us", "UTC"), pl.Datetime("ms"), pl.Datetime("us", "Asia/Tokyo")], ids=str
)
def test_times_are_instants_in_utc(dtype: Any) -> None:
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    given_times = pl.Series([noon, None]).dt.replace_time_zone("UTC")
    given_times = given_times.dt.convert_time_zone("Asia/Tokyo") if "Tokyo" in str(dtype) else given_times
    given_times = given_times if "time_zone='" in str(dtype) else given_times.dt.replace_time_zone(None)
    found = rows(t=given_times.cast(dtype))["time"]
    assert (found.dtype, found.to_list()) == (pl.Datetime("us", "UTC"), [noon, None])


def test_parts_in_several_chunks_stay_in_their_rows() -> None:
    one = pl.DataFrame({"y": [0, 1, 1], "p": [1, 1, 0], "s": [0.1, 0.9, 0.4], "f": ["a", "b", None]})
    apart = pl.concat([one.head(1), one.slice(1)], rechunk=False)
    assert_frame_equal(canonical(apart, COLUMNS, SCHEMA), canonical(one, COLUMNS, SCHEMA))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_a_grid_is_centred_on_the_median(values: list[float]) -> None:
    grid = grid_for(pl.Series(values))
    assume(grid != Grid())
    low, middle, high = np.quantile(np.array(values) / 4, [0.16, 0.5, 0.84]) * 4
    assert grid.centre == middle
    with np.errstate(over="ignore"):
        half = high / 2 - low / 2
    assert not 2.0**-1000 < half < 2.0**1000 or 0.7 < grid.scale / half < 1.42
