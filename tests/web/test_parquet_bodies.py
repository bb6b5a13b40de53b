"""Parquet bodies: the rows that Arrow brings, and bombs refused before they go off."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.errors import DataError
from driftline.net.limits import Limits, TooLargeError
from driftline.web.parquet_outline import parquet_outline
from driftline.web.requests import ARROW, PARQUET, frame_of, rows_of

LIMITS = Limits()
NUMBERS, TEXTS = st.floats(allow_nan=False) | st.none(), st.text(st.characters(codec="utf-8"), max_size=5)


def file(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, NUMBERS, TEXTS | st.none(), st.booleans() | st.none(), st.integers(0, 99)), max_size=8),
    st.sampled_from(["NONE", "SNAPPY", "ZSTD", "GZIP", "LZ4", "BROTLI"]),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(["1.0", "2.0"]),
    st.booleans(),
)
@example([], "NONE", 1, True, "1.0", False)
def test_a_file_gives_the_rows_of_a_stream(
    came: list[tuple[Any, ...]], compression: str, group: int, dictionary: bool, pages: str, structs: bool
) -> None:
    ids, numbers, texts, flags, seconds = ([row[place] for row in came] for place in range(5))
    inner = {"a": pa.array(numbers, pa.float64()), "b": pa.array(texts, pa.string()), "c": pa.array(flags, pa.bool_())}
    times = pa.array([datetime.fromtimestamp(one, UTC) for one in seconds], pa.timestamp("us", "UTC"))
    features: dict[str, Any] = {f"feature.{name}": column for name, column in inner.items()}
    if structs:
        features = {"features": pa.StructArray.from_arrays(list(inner.values()), names=list(inner))}
    table = pa.table({"id": pa.array(ids, pa.string()), "time": times, **features})
    body = file(
        table, compression=compression, row_group_size=group, use_dictionary=dictionary, data_page_version=pages
    )
    assert rows_of(body, PARQUET, LIMITS) == rows_of(stream(table), ARROW, LIMITS)
    seen = parquet_outline(body)
    assert seen.rows == len(came)
    assert seen.unpacked >= table.nbytes


@pytest.mark.parametrize("compression", ["uncompressed", "snappy", "zstd", "lz4", "gzip"])
def test_files_of_polars_are_taken(compression: Any) -> None:
    frame = pl.DataFrame({"id": ["a", "b"], "feature.x": [1.5, None], "feature.tags": [[1, 2], []]})
    sink = io.BytesIO()
    frame.write_parquet(sink, compression=compression)
    assert rows_of(sink.getvalue(), PARQUET, LIMITS) == [
        {"id": "a", "features": {"x": 1.5, "tags": [1, 2]}},
        {"id": "b", "features": {"x": None, "tags": []}},
    ]


def _long(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays([0, len(values)], values)


MANY = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**4, np.int8)), pa.array(["x" * 10**5]))
BOMBS: dict[str, Callable[[], bytes]] = {  # made when asked for: they take gigabytes
    "rows": lambda: file(pa.table({"id": pa.array(np.zeros(10**6, np.int8))})),
    "rows of nothing": lambda: file(pa.table({"id": pa.nulls(300_000, pa.int8())})),
    "bytes": lambda: file(  # its statistics would take ten seconds
        pa.table({"id": ["x" * 3 * 10**8]}), compression="zstd", use_dictionary=False, write_statistics=False
    ),
    "a dictionary": lambda: file(pa.table({"id": MANY})),
    "a long list": lambda: file(pa.table({"feature.a": _long(pa.array(np.zeros(10**7, np.int8)))}), compression="zstd"),
    "lists of nothing": lambda: file(pa.table({"feature.a": _long(pa.nulls(10**7, pa.int8()))})),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_too_large_before_it_is_unpacked(kind: str) -> None:
    body = BOMBS[kind]()
    assert len(body) < LIMITS.body_bytes
    with pytest.raises(TooLargeError, match="limits"):
        rows_of(body, PARQUET, LIMITS)


def test_values_of_a_fixed_length_count_for_each_row_that_has_them() -> None:
    body = file(pa.table({"id": pa.array([b"x" * 10**4] * 1_000, pa.binary(10**4))}), compression="zstd")
    assert len(body) < 1_000
    assert parquet_outline(body).unpacked >= 10**7


VECTOR = pa.list_(pa.float64(), 10**5)
VECTORS = {
    "alone": (pa.array([None] * 3, VECTOR), None),
    "in lists": (pa.array([[None]] * 3, pa.list_(VECTOR)), [None]),
    "in structs": (pa.array([{"a": None}] * 3, pa.struct({"a": VECTOR})), {"a": None}),
}


@pytest.mark.parametrize("kind", VECTORS)
def test_vectors_that_are_null_take_no_memory(kind: str) -> None:
    column, value = VECTORS[kind]
    body = file(pa.table({"id": pa.array(["ARROW:schema"] * 3), "feature.a": column}))
    assert frame_of(body, PARQUET, LIMITS).estimated_size() < 1_000
    assert rows_of(body, PARQUET, LIMITS) == [{"id": "ARROW:schema", "features": {"a": value}}] * 3


def test_vectors_are_the_lists_that_they_hold() -> None:
    vectors = pa.array([[1.5, 2.5], [3.0, None]], pa.list_(pa.float64(), 2))
    rows = rows_of(file(pa.table({"feature.a": vectors})), PARQUET, LIMITS)
    assert rows == [{"features": {"a": [1.5, 2.5]}}, {"features": {"a": [3.0, None]}}]


def number(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def thrift(fields: dict[int, Any]) -> bytes:
    """Write a structure of Thrift's compact protocol; lists are of structures."""
    found, last = b"", 0
    for place, value in fields.items():
        kind = 6 if isinstance(value, int) else 9 if isinstance(value, list) else 8 if isinstance(value, bytes) else 12
        found += bytes([(place - last) << 4 | kind])
        last = place
        if isinstance(value, list):
            found += b"\xfc" + number(len(value)) + b"".join(map(thrift, value))
        elif isinstance(value, bytes):
            found += number(len(value)) + value
        else:
            found += number(value * 2) if isinstance(value, int) else thrift(value)
    return found + b"\0"


def footed(pages: bytes, chunks: int) -> bytes:
    """Return a file whose columns have all the same pages."""
    chunk = {3: {1: 1, 7: len(pages), 9: 4}}
    footer = thrift({1: 1, 2: [{4: b"root", 5: 0}], 3: 0, 4: [{1: [chunk] * chunks, 3: 0}]})
    return b"PAR1" + pages + footer + len(footer).to_bytes(4, "little") + b"PAR1"


EMPTY_PAGE = thrift({1: 0, 2: 0, 3: 0, 5: {1: 0, 2: 0, 3: 3, 4: 3}})


def test_pages_are_read_once_and_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.web.parquet_outline._MOST_VALUES", 2**14)
    assert parquet_outline(footed(EMPTY_PAGE * 100, 1)).rows == 0
    with pytest.raises(DataError, match="broken"):  # each column has the pages of the others
        parquet_outline(footed(EMPTY_PAGE * 100, 50))
    with pytest.raises(DataError, match="broken"):  # a body of nothing but pages without a value
        parquet_outline(footed(EMPTY_PAGE * 2**13, 1))


def nested(depth: int) -> pa.Array:
    column: Any = pa.array([1])
    for _ in range(depth):
        column = pa.StructArray.from_arrays([column], names=["a"])
    return column


PLAIN = file(pa.table({"id": [str(at) for at in range(50)], "feature.x": [at / 3 for at in range(50)]}))
ODD = {
    "nested": (file(pa.table({"feature.a": nested(20)})), "nested more than 16 deep"),
    "delta": (
        file(pa.table({"id": [1, 2]}), use_dictionary=False, column_encoding="DELTA_BINARY_PACKED"),
        "encoding 5",
    ),
    "delta in pages 2": (
        file(
            pa.table({"id": ["a"]}),
            use_dictionary=False,
            column_encoding="DELTA_LENGTH_BYTE_ARRAY",
            data_page_version="2.0",
        ),
        "encoding 6",
    ),
    "cut off": (PLAIN[:-9], "begin and end"),
    "no file": (b"PAR1PAR1", "begin and end"),
    "a footer that is longer than the file": (PLAIN[:-8] + b"\xff\xff\xff\x7fPAR1", "begin and end"),
    "a footer of nothing": (b"PAR1" + b"\0" * 20 + b"PAR1", "that can be read"),
    "encrypted": (PLAIN[:-4] + b"PARE", "begin and end"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_cannot_be_measured_or_read_is_refused_in_words(kind: str) -> None:
    body, words = ODD[kind]
    with pytest.raises(DataError, match=words):
        rows_of(body, PARQUET, LIMITS)


def test_bytes_that_were_changed_are_rows_or_an_error_in_words() -> None:
    rng = random.Random(7)
    for _ in range(150):
        body = bytearray(PLAIN)
        for _ in range(rng.choice((1, 1, 3, 20))):
            body[rng.randrange(len(body))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        said = ""
        try:
            assert len(rows_of(bytes(body), PARQUET, LIMITS)) <= LIMITS.rows
        except (DataError, TooLargeError) as error:
            said = str(error)
        assert len(said) < 500
