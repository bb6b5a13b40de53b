"""Arrow bodies: rows as JSON brings them, odd types refused with the column's name, bombs before they go off."""

from __future__ import annotations

import decimal
import io
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import DataError, DriftlineError
from driftline.net.limits import Limits, TooLargeError
from driftline.web import arrow_stream
from driftline.web.arrow_stream import CELL_BYTES, outline
from driftline.web.requests import ARROW, rows_of

LIMITS = Limits()


def stream(table: pa.Table, **options: Any) -> bytes:
    """A table as a stream."""
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def rows(table: pa.Table, **options: Any) -> list[Any]:
    return rows_of(stream(table, **options), ARROW, LIMITS)


# ---- rows -----------------------------------------------------------------------------------------------------------

NUMBERS = st.floats(allow_nan=False) | st.none()
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, NUMBERS, NUMBERS, TEXTS | st.none(), st.floats(0, 1) | st.none()), max_size=8),
    st.sampled_from([None, "zstd", "lz4"]),
    st.integers(1, 3),
    st.booleans(),
)
def test_a_stream_gives_the_rows_that_were_written(
    came: list[tuple[Any, ...]], compression: str | None, batch: int, structs: bool
) -> None:
    ids, first, second, plans, scores = ([row[place] for row in came] for place in range(5))
    inner = {"a": pa.array(first, pa.float64()), "b": pa.array(second, pa.float64()), "c": pa.array(plans, pa.string())}
    plain = {"id": pa.array(ids, pa.string()), "score.1": pa.array(scores, pa.float64())}
    if structs:
        features = pa.StructArray.from_arrays(list(inner.values()), names=list(inner))
        table = pa.table({**plain, "features": features})
    else:
        table = pa.table({**plain, **{f"feature.{name}": column for name, column in inner.items()}})
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema, options=pyarrow.ipc.IpcWriteOptions(compression=compression)) as to:
        to.write_table(table, max_chunksize=batch)
    expected = [
        {"id": id, "features": {"a": a, "b": b, "c": c}, **({} if score is None else {"score": {"1": score}})}
        for id, a, b, c, score in came
    ]
    assert rows_of(sink.getvalue(), ARROW, LIMITS) == expected


def test_decimals_are_numbers_wherever_they_stand() -> None:
    whole = pa.array([decimal.Decimal(17), None], pa.decimal128(38, 0))
    part = pa.array([decimal.Decimal("40.50"), decimal.Decimal("-0.25")], pa.decimal128(9, 2))
    features = pa.StructArray.from_arrays([part], names=["age"])
    [first, second] = rows(pa.table({"id": whole, "prediction": part, "features": features}))
    assert first == {"id": 17, "prediction": 40.5, "features": {"age": 40.5}}
    assert second == {"prediction": -0.25, "features": {"age": -0.25}}


@pytest.mark.parametrize("offset", ["+05:30", "-0800", "Z", "+00:00"])
def test_a_fixed_offset_is_read_as_the_instants_that_it_stores(offset: str) -> None:
    moment = datetime(2024, 3, 1, 12, tzinfo=UTC)
    times = pa.array([moment], pa.timestamp("us", offset))
    beside = pa.array([moment], pa.timestamp("ms", "America/Los_Angeles"))
    [row] = rows(pa.table({"time": times, "feature.seen": beside, "id": ["a"]}))
    assert datetime.fromisoformat(row["time"]) == datetime.fromisoformat(row["features"]["seen"]) == moment
    assert row["features"]["seen"].endswith("-08:00")  # a zone that is known stays
    assert row["id"] == "a"


def test_columns_that_are_known_again_are_those_of_their_own_stream() -> None:
    moments = [datetime(2024, 3, 1, 12, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC)]
    bodies = [stream(pa.table({"time": pa.array([one], pa.timestamp("us", "+05:30"))})) for one in moments]
    before = arrow_stream._columns_again.cache_info().misses
    for moment, body in zip(moments * 2, bodies * 2, strict=True):
        [row] = rows_of(body, ARROW, LIMITS)
        assert datetime.fromisoformat(row["time"]) == moment
    assert arrow_stream._columns_again.cache_info().misses <= before + 1
    for _ in range(2):  # what is refused is refused each time
        with pytest.raises(DataError, match="union"):
            rows(pa.table({"a": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])}))


def test_what_stores_a_text_once_for_many_rows_is_known() -> None:
    texts = pa.array(["a", "b"])
    assert not outline(stream(pa.table({"id": texts, "feature.n": [1, 2]}))).shared
    assert not outline(stream(pa.table({"features": pa.StructArray.from_arrays([texts], names=["a"])}))).shared
    for one in (texts.dictionary_encode(), texts.cast(pa.string_view()), texts.cast(pa.binary_view())):
        assert outline(stream(pa.table({"n": [1, 2], "id": one}))).shared
        assert outline(stream(pa.table({"feature.a": pa.StructArray.from_arrays([one], names=["a"])}))).shared


def test_a_struct_and_columns_of_its_parts_are_one_object() -> None:
    table = pa.table({"features": [{"a": 1}], "feature.b": [2], "score": [{"x": 0.5, "y": None}]})
    assert rows(table) == [{"features": {"a": 1, "b": 2}, "score": {"x": 0.5}}]


# ---- odd types ------------------------------------------------------------------------------------------------------

ODD = {
    "an interval": pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    "a union": pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
    "run-end-encoded": pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array([1.0])),
    "256-bit decimal": pa.array([decimal.Decimal("1.5")], pa.decimal256(50, 2)),
    "a list view": pa.array([[1]], pa.list_view(pa.int8())),
    "a map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
    "Mars/Olympus": pa.array([0], pa.timestamp("us", "Mars/Olympus")),
    "years 1 to 9999": pa.array([2**62], pa.timestamp("us", "UTC")),
    "outside of the years": pa.array([2**30], pa.date32()),
    "a time outside": pa.array([2**60], pa.date64()),
    "dictionary of binary": pa.array([b"x"]).dictionary_encode(),
}


@pytest.mark.parametrize("words", ODD)
@pytest.mark.parametrize("wrap", ["flat", "struct", "list"])
def test_an_odd_type_is_refused_with_its_column(words: str, wrap: str) -> None:
    column = ODD[words]
    if wrap == "list":
        column = pa.ListArray.from_arrays([0, 1], column)
    if wrap == "struct":
        column = pa.StructArray.from_arrays([column], names=["inner"])
    with pytest.raises(DataError) as caught:
        rows(pa.table({"id": ["a"], "feature.odd": column}))
    assert "'feature.odd" in str(caught.value)
    assert words in str(caught.value)


def test_an_extension_is_what_it_stores() -> None:
    column = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}']))
    assert rows(pa.table({"feature.json": column})) == [{"features": {"json": '{"a": 1}'}}]


# ---- bombs ----------------------------------------------------------------------------------------------------------


def _repeated(text: str, times: int) -> bytes:
    """Rows that all refer to one text, as views do."""
    sink = io.BytesIO()
    pl.DataFrame({"id": pl.Series([text]).gather([0] * times)}).write_ipc_stream(sink)
    return sink.getvalue()


def _batches(count: int) -> bytes:
    schema = pa.schema([(f"c{place}", pa.int8()) for place in range(100)])
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, schema) as writer:
        empty = schema.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]
        for _ in range(count):
            writer.write_batch(empty[0])
    return sink.getvalue()


def _dictionary(text: str, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int8()), pa.array([text]))


MANY = _dictionary("x" * 10**5, 10**4)
BOMBS: dict[str, Callable[[], bytes]] = {  # made when asked for: they take gigabytes
    "rows": lambda: stream(pa.table({"id": pa.array([0] * 1_000_000, pa.int8())}), compression="zstd"),
    "rows of nothing": lambda: stream(pa.table({"id": pa.nulls(10**9)})),
    "rows without columns": lambda: stream(pa.table({"id": pa.nulls(10**9)}).select([])),
    "bytes, zstd": lambda: stream(pa.table({"id": ["x" * 3 * 10**8]}), compression="zstd"),
    "bytes, lz4": lambda: stream(pa.table({"id": ["x" * 3 * 10**8]}), compression="lz4"),
    "a long list of nothing": lambda: stream(pa.table({"feature.a": pa.array([[None] * 10**7], pa.list_(pa.null()))})),
    "a dictionary": lambda: stream(pa.table({"id": MANY})),
    "a dictionary in a list": lambda: stream(pa.table({"feature.a": pa.ListArray.from_arrays([0, 10**4], MANY)})),
    "a dictionary in a struct": lambda: stream(pa.table({"features": pa.StructArray.from_arrays([MANY], names=["a"])})),
    "views of one text": lambda: _repeated("x" * 10**5, 10**4),
    "batches of nothing": lambda: _batches(3_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_too_large_before_it_is_unpacked(kind: str) -> None:
    body = BOMBS[kind]()
    assert len(body) < LIMITS.body_bytes
    with pytest.raises(TooLargeError, match="limits"):
        rows_of(body, ARROW, LIMITS)


def test_what_is_not_over_a_limit_is_taken() -> None:
    count = LIMITS.rows
    taken = rows(pa.table({"id": _dictionary("x" * 100, count), "prediction": pa.array([0] * count, pa.int8())}))
    assert len(taken) == count
    with pytest.raises(TooLargeError, match=f"{count + 1:,} rows"):
        rows(pa.table({"id": pa.array([0] * (count + 1), pa.int8())}))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=4), st.sampled_from([None, "zstd", "lz4"]))
def test_the_outline_counts_rows_and_at_least_the_bytes_that_pyarrow_has(
    sizes: list[int], compression: str | None
) -> None:
    table = pa.table({"a": pa.array(range(sum(sizes)), pa.int64()), "b": ["text"] * sum(sizes)})
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema, options=pyarrow.ipc.IpcWriteOptions(compression=compression)) as to:
        at = 0
        for size in sizes:
            to.write_table(table.slice(at, size))
            at += size
    seen = outline(sink.getvalue())
    assert (seen.columns, seen.rows) == (("a", "b"), sum(sizes))
    assert seen.unpacked >= table.nbytes + 2 * CELL_BYTES * sum(sizes) - 8 * len(sizes)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("stated", [0, 8, 999_999, 1_000_001, 10**12, 2**62, -2, -(2**63)])
def test_a_length_that_lies_is_refused(compression: str, stated: int) -> None:
    body = bytearray(stream(pa.table({"id": pa.array([7] * 1_000_000, pa.int8())}), compression=compression))
    at = body.rindex(struct.pack("<q", 1_000_000))  # what stands before the compressed values
    body[at : at + 8] = struct.pack("<q", stated)
    try:
        taken = rows_of(bytes(body), ARROW, Limits(rows=10**7, unpacked_bytes=10**9))
    except DriftlineError:
        return
    assert (stated, taken) == (1_000_001, [{"id": 7}] * 1_000_000)  # room for one more harms nobody


@pytest.mark.parametrize("depth", [10, 17, 1_000])
def test_a_type_that_is_nested_deeply_ends_nothing(depth: int) -> None:
    kind: pa.DataType = pa.int8()
    for _ in range(min(depth, 60)):
        kind = pa.list_(kind)
    body = stream(pa.table({"feature.deep": pa.nulls(1, kind)}))
    if depth < 16:
        assert rows_of(body, ARROW, LIMITS) == [{"features": {"deep": None}}]
    else:
        with pytest.raises(DataError, match="is nested more than 16 deep"):
            rows_of(body, ARROW, LIMITS)


GOOD = stream(
    pa.table({"id": ["a", "b"], "feature.x": [1.0, None], "time": pa.array([0, 1], pa.timestamp("us", "+01:00"))}),
    compression="lz4",
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bytes_that_were_changed_are_rows_or_refused(data: st.DataObject) -> None:
    body = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
    del body[data.draw(st.integers(len(body) // 2, len(body))) :]
    try:
        taken = rows_of(bytes(body), ARROW, LIMITS)
    except DriftlineError:
        return
    assert len(taken) <= LIMITS.rows
