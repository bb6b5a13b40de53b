"""What a database counts is what the rows are profiled as, byte for byte, whatever is in them."""

from __future__ import annotations

import math
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles import Columns
from driftline.profiles.layout import Layout
from driftline.profiles.table import profile_batches
from driftline.sketches import Grid
from tests.sql.filled import Filled, filled

__all__ = ["filled"]

MISSING = ("", "NA", "-999")
GRIDS = [Grid(), Grid(0.5, 0.25), Grid(-3.7, 2.0**-30), Grid(1e300, 2.0**40), Grid(0.1, 0.3), Grid(0.0, 2.0**98)]
FAR = sys.float_info.max
HOSTILE = [
    *(None, math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, sys.float_info.min, FAR, -FAR, -999.0),
    *(sign * math.nextafter(2.0**-150, to) for sign in (1, -1) for to in (0.0, 0.0 + 2.0**-150, 1.0)),
    *(math.nextafter(16.0, 0), 16.0, -16.0, 3.4028235677973366e38, 1e-45, 1e-38, 0.1, 1 - 2.0**-25, 1 - 2.0**-24),
]
TEXTS = ["a", "A", "á", " NA", "NA ", "", "1.0", "'; DROP TABLE rows; --", "a\nb", "🙂", '"']


def edges(grid: Grid) -> list[float]:
    """Numbers around the edges of cells, where float32 rounds half to even, and around those of what is rounded."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 0x8180 if grid.scale > 1e20 else 0x4180, 120).astype(np.uint32) << 16
    at = np.concatenate([bits, bits + (1 << 15)]).view(np.float32).astype(np.float64)
    at = at[np.isfinite(at)]
    with np.errstate(over="ignore"):
        below = (at - np.spacing(at.astype(np.float32)).astype(np.float64) / 2) * grid.scale + grid.centre
        coarse = (np.arange(-40, 40) + 0.5) * 2.0**-14 * grid.scale + grid.centre
        there = np.concatenate([below, -below, coarse])
        return np.concatenate([there, np.nextafter(there, -np.inf), np.nextafter(there, np.inf)]).tolist()


def layout(features: dict[str, Kind], grids: dict[str, Grid] | None = None, **columns: Any) -> Layout:
    schema = Schema(Task.BINARY, features, classes=("0", "1"), positive="1", missing=MISSING)
    return Layout(Columns(missing=MISSING, **columns), schema, grids or {}, {})


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_every_number_has_its_cell(filled: Filled, grid: Grid) -> None:
    numbers = [*HOSTILE, *HOSTILE, *edges(grid)]
    frame = pl.DataFrame({"x": pl.Series(numbers, dtype=pl.Float64)})
    filled.assert_same(frame, layout({"x": Kind.NUMERIC}, {"feature.x": grid}))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
EVER = [datetime(999, 12, 31, 23), datetime(1000, 1, 1), datetime(9000, 1, 1), datetime(1969, 12, 31)]
rows = st.fixed_dictionaries(
    {
        "x": st.one_of(st.sampled_from(HOSTILE), st.floats(), st.floats(-20, 20)),
        "whole": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-300, 300), st.just(-999)),
        "single": st.one_of(st.none(), st.floats(width=32), st.just(0.1)),
        "sky": st.one_of(st.none(), st.sampled_from(TEXTS), texts),
        "yes": st.one_of(st.none(), st.booleans()),
        "when": st.one_of(
            st.none(),
            st.datetimes(datetime(2024, 3, 29), datetime(2024, 4, 2)),
            st.sampled_from(EVER),
        ),
        "v": st.sampled_from([None, "1", "1.0", " 2", "b"]),
        "label": st.sampled_from([None, 0, 1, -999]),
        "p": st.sampled_from([None, 0, 1, 2]),
    }
)  # fmt: skip
FEATURES = {
    "x": Kind.NUMERIC,
    "whole": Kind.NUMERIC,
    "single": Kind.NUMERIC,
    "sky": Kind.CATEGORICAL,
    "yes": Kind.CATEGORICAL,
    "gone": Kind.NUMERIC,
    "lost": Kind.CATEGORICAL,
}
TYPES: dict[str, Any] = {
    "x": pl.Float64,
    "whole": pl.Int64,
    "single": pl.Float64,
    "sky": pl.String,
    "yes": pl.Boolean,
    "when": pl.Datetime("us"),
    "v": pl.String,
    "label": pl.Int64,
    "p": pl.Int16,
}
WINDOWS = [
    None,
    WindowSpec("1d"),
    WindowSpec("6h"),
    WindowSpec("1d", "Europe/Berlin"),
    WindowSpec("1mo", "Asia/Kolkata"),
]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(rows, min_size=1, max_size=25),
    st.lists(st.integers(1, 30), min_size=25, max_size=25),
    st.sampled_from(GRIDS),
    st.sampled_from(WINDOWS),
    st.booleans(),
    st.booleans(),
)
def test_whatever_the_rows(
    filled: Filled, some: list[dict[str, Any]], times: list[int], grid: Grid, windows: WindowSpec | None, zoned: bool,
    clustered: bool,
) -> None:  # fmt: skip
    frame = pl.DataFrame([row for row, often in zip(some, times, strict=False) for _ in range(often)], schema=TYPES)
    frame = frame.with_columns(pl.col("when").dt.replace_time_zone("UTC")) if zoned else frame
    schema = Schema(
        Task.BINARY, FEATURES, ("0", "1"), "1", MISSING, single=("single",), cluster="sky" if clustered else None,
        segments={"sky": ("A", "a"), "lost": ()},
    )  # fmt: skip
    columns = Columns(time="when", version="v", label="label", prediction="p", missing=MISSING)
    filled.assert_same(frame, Layout(columns, schema, {"feature.x": grid}, {}, windows))


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_scores_and_real_targets(filled: Filled, task: Task) -> None:
    """Their columns are the same; performance is named with a reason, and so are segments."""
    numbers = [None, 0.0, -0.0, 1.0, 0.5, 1 + 2.0**-52, -0.1, math.nan, math.inf, 0.25, 1e-300, 17.5, -999.0] * 3
    frame = pl.DataFrame({"s": numbers, "y": numbers[::-1], "sky": ["a", "b", None] * 13}, strict=False)
    classes = {"classes": ("0", "1"), "positive": "1"} if task is Task.BINARY else {}
    schema = Schema(task, {"sky": Kind.CATEGORICAL}, missing=MISSING, segments={"sky": ("a",)}, **classes)
    targets = {"prediction": "y", "label": "s"} if task is Task.REGRESSION else {"prediction": "sky", "label": "sky"}
    columns = Columns(**targets, score="s" if task is Task.BINARY else None, missing=MISSING)
    found = filled.profile(frame, Layout(columns, schema, {"label": Grid(0.5, 0.125)}, {}))
    assert set(found.left_out) == {"performance", "segments"}
    (expected,) = profile_batches([frame], Layout(columns, schema, {"label": Grid(0.5, 0.125)}, {})).parts.values()
    (part,) = found.table.parts.values()
    assert part.whole.performance is None
    for name in ("features", "outputs", "labels"):
        assert getattr(part.whole, name) == getattr(expected.whole, name), name


def test_more_categories_than_are_kept(filled: Filled) -> None:
    names = [f"k{number}" for number in range(10_500)] + ["often"] * 70_000 + [None, ""]
    filled.assert_same(pl.DataFrame({"sky": names}), layout({"sky": Kind.CATEGORICAL}))


def test_windows_of_minutes_and_of_clock_changes(filled: Filled) -> None:
    start = datetime(2024, 10, 27, tzinfo=UTC) - timedelta(hours=3)
    times = [start + timedelta(minutes=7 * step, microseconds=step % 2) for step in range(60)]
    frame = pl.DataFrame({"when": pl.Series(times, dtype=pl.Datetime("us", "UTC")), "x": range(60)})
    for spec in (WindowSpec("10min"), WindowSpec("1d", "Europe/Berlin"), WindowSpec("1w", "Asia/Kathmandu")):
        made = layout({"x": Kind.NUMERIC}, time="when")
        filled.assert_same(frame, Layout(made.columns, made.schema, {}, {}, spec))


def test_dates_are_times_too(filled: Filled) -> None:
    days = [date(2024, 1, 31) + timedelta(days=day) for day in (0, 1, 1, 40)]
    made = layout({"x": Kind.NUMERIC}, time="day", label="y", prediction="y")
    frame = pl.DataFrame({"day": [*days, None], "x": [0, 1, 2, 3, 4], "y": ["a", "b", "a", None, "b"]})
    filled.assert_same(frame, Layout(made.columns, made.schema, {}, {}, WindowSpec("1mo")))


def test_no_rows_are_no_profiles(filled: Filled) -> None:
    frame = pl.DataFrame(schema={"x": pl.Float64, "when": pl.Datetime("us")})
    made = layout({"x": Kind.NUMERIC}, time="when")
    filled.assert_same(frame, Layout(made.columns, made.schema, {}, {}, WindowSpec("1d")))
