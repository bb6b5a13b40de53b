"""Rows are read by themselves: whatever stands beside one in its batch, its profile has the same bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.errors import CodecError, DataError, UsageError
from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles import Columns
from driftline.profiles.layout import Layout, Reading, read_rows, readings_of, rows_like
from driftline.profiles.numbers import NumberStyle
from driftline.profiles.parts import Anchor
from driftline.profiles.table import ProfileTable, as_frame, profile_batches
from driftline.profiles.times import TimeStyle
from driftline.sketches import Grid, decode, encode

BEGIN = datetime(2026, 3, 28, tzinfo=UTC)
SCHEMA = Schema(
    Task.BINARY,
    {
        "x": Kind.NUMERIC,
        "n": Kind.NUMERIC,
        "k": Kind.CATEGORICAL,
        "code": Kind.CATEGORICAL,
        "day": Kind.DATETIME,
        "words": Kind.TEXT,
        "vector": Kind.EMBEDDING,
    },
    ("0", "1"),
    "1",
    segments={"k": ("blue", "red")},
    cluster="k",
)
COLUMNS = Columns(time="at", version="v", prediction="said", score="p", label="was", cluster="k", segments=("k",))
LAYOUT = Layout(
    COLUMNS,
    SCHEMA,
    {"feature.x": Grid(0.5, 0.25)},
    {"feature.vector": Anchor((0.0, 1.0), 1.0)},
    WindowSpec("1d", "Europe/Berlin"),
    {"day": Reading(span="date"), "code": Reading(codes="numbers"), "said": Reading(codes="numbers")},
)

WHOLE = [pl.Int8, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String, pl.Categorical]
TYPES: dict[str, tuple[Any, list[Any]]] = {
    "at": (pl.Datetime("us", "UTC"), [pl.Datetime("ms", "UTC"), pl.Datetime("us", "Asia/Tokyo"), pl.Datetime("us")]),
    "v": (pl.String, [pl.Categorical]),
    "x": (pl.Float64, [pl.String]),
    "n": (pl.Int64, WHOLE),
    "k": (pl.String, [pl.Categorical]),
    "code": (pl.Int64, WHOLE),
    "day": (pl.Date, [pl.Datetime("ms"), pl.Datetime("us"), pl.String]),
    "words": (pl.String, []),
    "vector": (pl.List(pl.Float64), [pl.List(pl.Float32)]),
    "said": (pl.Int64, [pl.Int8, pl.Float64, pl.String]),
    "p": (pl.Float64, []),
    "was": (pl.String, [pl.Categorical]),
    "unknown": (pl.String, []),
}
"""The type of each column, and others in which the same values may come."""

VALUES = st.fixed_dictionaries(
    {
        "at": st.none() | st.integers(0, 4 * 24 * 60).map(lambda minutes: BEGIN + timedelta(minutes=minutes)),
        "v": st.sampled_from([None, "1.0", "2"]),
        "x": st.none() | st.floats(-4, 4, width=16) | st.just(float("nan")),
        "n": st.none() | st.integers(-100, 100),
        "k": st.sampled_from([None, "red", "blue", "green", "NA"]),
        "code": st.none() | st.integers(0, 5),
        "day": st.none() | st.integers(0, 900).map(lambda days: date(2024, 1, 1) + timedelta(days=days)),
        "words": st.sampled_from([None, "the cat sat", "a dog"]),
        "vector": st.sampled_from([None, [1.0, 2.0], [0.0], [0.5, float("inf")]]),
        "said": st.sampled_from([None, 0, 1]),
        "p": st.none() | st.floats(0, 1) | st.just(1.5),
        "was": st.sampled_from([None, "0", "1"]),
        "unknown": st.sampled_from([None, "z"]),
    }
)


def written(rows: Sequence[dict[str, Any]], types: dict[str, Any], gone: frozenset[str] = frozenset()) -> pl.DataFrame:
    """Rows in these types; a column without any value has no type, and one of ``gone`` is not even there then."""
    found = []
    for name, (usual, _) in TYPES.items():
        values = pl.Series(name, [row[name] for row in rows], dtype=usual)
        wanted = types.get(name, usual)
        if not values.count():
            if name not in gone:
                found.append(pl.Series(name, [None] * len(rows), dtype=pl.Null))
            continue
        if wanted == pl.Datetime("us") and name == "at":
            values = values.dt.replace_time_zone(None)
        elif isinstance(wanted, pl.Datetime) and wanted.time_zone == "Asia/Tokyo":
            values = values.dt.convert_time_zone(wanted.time_zone)
        elif name == "x" and values.is_nan().any():
            pass  # the text NaN is a missing value, the number is none
        elif wanted == pl.Categorical:
            values = values.cast(pl.String).cast(pl.Categorical)
        else:
            values = values.cast(wanted)
        found.append(values)
    return pl.DataFrame(found) if found else pl.DataFrame(height=len(rows))


@settings(max_examples=20, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=24), st.data())
def test_any_split_and_order_of_rows_and_types_gives_the_same_bytes(rows: list[dict[str, Any]], data: Any) -> None:
    whole = as_frame(profile_batches([written(rows, {})], LAYOUT), LAYOUT)
    drawn = random.Random(data.draw(st.integers(0, 2**32)))
    shuffled = drawn.sample(rows, len(rows))
    cuts = sorted(drawn.sample(range(len(rows) + 1), drawn.randint(0, min(3, len(rows)))))
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    batches = [
        written(part, {name: drawn.choice([usual, *others]) for name, (usual, others) in TYPES.items()}, gone)
        for part in parts
        for gone in [frozenset(drawn.sample(sorted(TYPES), 6))]
    ]
    tables = [profile_batches([batch], LAYOUT) for batch in batches]
    drawn.shuffle(tables)
    left = ProfileTable()
    for table in tables:
        left = table.merge(left)
    right = ProfileTable.of_all(tables)
    assert as_frame(left, LAYOUT).equals(whole)
    assert as_frame(right, LAYOUT).equals(whole)
    assert sum(whole["predictions"]) == len(rows)
    named = sum(whole.filter(pl.col("start").is_null())["predictions"])
    assert named == sum(row["at"] is None for row in rows)  # no row is lost: those without a time are kept apart


SPELLINGS = ["2026-03-01", "2026-3-2", "2026-03-01T07:30", "2026-03-01 07:30:15Z", "x", "", "NA", "2026/03/04"]
SPELLINGS += ["2026-03-01T23:59:59.5+02:00", "0024-01-01", "9999-12-31"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(SPELLINGS)))
def test_a_text_is_read_as_a_time_whatever_stands_beside_it(texts: list[str]) -> None:
    layout = replace(LAYOUT, readings={})
    together = read_rows(pl.DataFrame({"at": pl.Series(texts, dtype=pl.String)}), layout)
    alone = [read_rows(pl.DataFrame({"at": [text]}), layout)["time"][0] for text in texts]
    assert together.height == 0 or together["time"].to_list() == alone


def test_rows_of_a_day_on_which_the_clocks_change_are_one_window() -> None:
    times = [datetime(2026, 3, 29, hour, 30, tzinfo=UTC) for hour in range(24)]
    table = profile_batches([pl.DataFrame({"at": times})], LAYOUT)
    lengths = [key.window.end - key.window.start for key in table.parts if key.window is not None]
    assert lengths == [timedelta(hours=23), timedelta(hours=24)]


def test_a_layout_travels_as_bytes_and_other_bytes_are_refused() -> None:
    layout = replace(LAYOUT, columns=replace(COLUMNS, score={"0": "p0", "1": "p"}), hashed=("k",))
    data = encode(layout)
    assert decode(data, Layout) == layout
    assert encode(decode(data, Layout)) == data
    with pytest.raises(CodecError, match="not a Layout"):
        decode(encode(SCHEMA), Layout)
    with pytest.raises(CodecError, match="magic"):
        decode(b"", Layout)
    for cut in range(4, len(data), 17):
        with pytest.raises(CodecError):
            decode(data[:cut], Layout)


@given(st.binary(max_size=40), st.integers(4, 400))
def test_bytes_that_were_changed_are_refused_or_another_layout(noise: bytes, at: int) -> None:
    data = encode(LAYOUT)
    changed = data[:at] + noise + data[at + len(noise) :]
    try:
        found = decode(changed, Layout)
    except CodecError:
        return
    read_rows(written([], {}), found)  # whatever it is, it does no harm


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ({"span": "year"}, "the span 'year' came; allowed is one of date, datetime, duration, clock"),
        ({"codes": "x"}, "the codes 'x' came; allowed is one of names, numbers, truths"),
        ({"numbers": NumberStyle(decimal=")")}, "numbers have a point or a comma"),
        ({"numbers": NumberStyle(unit="k" * 99)}, "a unit of 99 signs came; it has at most 32"),
        ({"times": TimeStyle("moon")}, "the style of times 'moon' came; allowed is one of numbers, key"),
        ({"epochs": TimeStyle("format", "%Z")}, "names of time zones"),
    ],
)
def test_what_no_reading_can_be_is_refused(reading: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        Reading(**reading)


def test_windows_need_times() -> None:
    with pytest.raises(UsageError, match="windows of 1d came without a column of times"):
        Layout(Columns(), SCHEMA, {}, {}, WindowSpec())


def test_layouts_are_alike_where_their_profiles_are_whatever_the_columns_are_called() -> None:
    renamed = replace(LAYOUT, columns=replace(COLUMNS, time="when", label="truth"), readings={})
    assert renamed.digest == LAYOUT.digest
    assert LAYOUT.differences(renamed) == []
    for other, words in (
        (replace(LAYOUT, windows=WindowSpec("1d", "UTC")), ["windows"]),
        (replace(LAYOUT, grids={}), ["grids of numbers"]),
        (replace(LAYOUT, schema=replace(SCHEMA, features={"x": Kind.NUMERIC})), ["features"]),
        (replace(LAYOUT, schema=replace(SCHEMA, missing=("",))), ["schemas"]),
    ):
        assert other.digest != LAYOUT.digest
        assert LAYOUT.differences(other) == words


# ---- what is decided, and by what ------------------------------------------------------------------------------------


def test_how_rows_are_written_is_decided_by_their_first_ones() -> None:
    reference = pl.DataFrame({"at": [BEGIN], "x": [1.5], "code": [True], "day": [date(2026, 1, 1)], "p": [0.5]})
    rows = pl.DataFrame({"at": ["31.03.2026"], "x": ["1.234,5"], "code": ["yes"], "day": ["1 Mar 2026"], "p": ["0,25"]})
    readings = readings_of([rows, reference], COLUMNS, SCHEMA)
    assert readings["at"].times == TimeStyle("day", clock=False)
    assert (readings["x"].numbers.decimal, readings["x"].numbers.grouping) == (",", ".")
    assert readings["code"].codes == "truths"
    assert readings["day"] == Reading(times=TimeStyle("named", clock=False), span="date")
    read = read_rows(rows, replace(LAYOUT, readings=readings))
    assert read["time"].to_list() == [datetime(2026, 3, 31, tzinfo=UTC)]
    assert read["feature.x"].to_list() == [1234.5]
    assert read["feature.code"].to_list() == ["1"]
    assert read["feature.day"].to_list() == [date(2026, 3, 1)]
    assert read["score.1"].to_list() == [0.25]


def test_other_rows_keep_what_was_decided_by_the_reference() -> None:
    layout = replace(LAYOUT, readings={"day": Reading(span="date"), "x": Reading(numbers=NumberStyle(decimal=","))})
    again = rows_like(layout, pl.DataFrame({"x": ["2.5"], "day": ["3 Mar 2026"]}))
    assert again.readings["x"].numbers.decimal == "."
    assert again.readings["day"].span == "date"
    assert again.readings["day"].times.name == "named"
    assert again.digest == layout.digest


@pytest.mark.parametrize(
    ("texts", "read"),
    [
        (["1767225600", "1767312000"], [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)]),
        ([20260101, 20260102], [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)]),
        ([1767225600000, None], [datetime(2026, 1, 1, tzinfo=UTC), None]),
        (["9999-12-31", "2026-01-01"], [None, datetime(2026, 1, 1, tzinfo=UTC)]),
    ],
)
def test_times_in_every_way(texts: list[Any], read: list[datetime | None]) -> None:
    rows = pl.DataFrame({"at": texts})
    layout = replace(LAYOUT, readings=readings_of([rows], COLUMNS, SCHEMA))
    assert read_rows(rows, layout)["time"].to_list() == read


def test_days_and_months_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(DataError, match="day first or month first"):
        readings_of([pl.DataFrame({"at": ["01/02/2026", "03/04/2026"]})], COLUMNS, SCHEMA)


@pytest.mark.parametrize(
    ("codes", "texts", "names"),
    [
        ("names", ["1.0", " a", "yes"], ["1.0", " a", "yes"]),
        ("numbers", ["1.0", "2.50", "-3", "a.0", "007"], ["1", "2.5", "-3", "a.0", "007"]),
        ("truths", ["True", "no", "1", "maybe"], ["1", "0", "1", "maybe"]),
    ],
)
def test_codes_are_spelled_as_in_the_reference(codes: str, texts: list[str], names: list[str]) -> None:
    layout = replace(LAYOUT, readings={"code": Reading(codes=codes)})
    assert read_rows(pl.DataFrame({"code": texts}), layout)["feature.code"].to_list() == names
