"""Parquet bodies: the rows that Arrow brings, and bombs refused before they go off."""

from __future__ import annotations

import io
import random
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
from driftline.web.requests import ARROW, PARQUET, rows_of

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


MANY = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**4, np.int8)), pa.array(["x" * 10**5]))
LONG = pa.ListArray.from_arrays([0, 10**7], pa.array(np.zeros(10**7, np.int8)))
BOMBS = {
    "rows": file(pa.table({"id": pa.array(np.zeros(10**6, np.int8))})),
    "rows of nothing": file(pa.table({"id": pa.nulls(300_000, pa.int8())})),
    "bytes": file(pa.table({"id": ["x" * 3 * 10**8]}), compression="zstd", use_dictionary=False),
    "a dictionary": file(pa.table({"id": MANY})),
    "a long list": file(pa.table({"feature.a": LONG}), compression="zstd"),
    "lists of nothing": file(pa.table({"feature.a": pa.ListArray.from_arrays([0, 10**7], pa.nulls(10**7, pa.int8()))})),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_too_large_before_it_is_unpacked(kind: str) -> None:
    assert len(BOMBS[kind]) < LIMITS.body_bytes
    with pytest.raises(TooLargeError, match="limits"):
        rows_of(BOMBS[kind], PARQUET, LIMITS)


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
