"""One column of a type that cannot be compared ends nothing: the others are, through every door."""

from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

import driftline
from driftline.checks.inputs import rows_of
from driftline.errors import DataError
from driftline.sources import arrow_files
from driftline.sources import rows as rows_module
from driftline.sources.arrow import Gate, taken, type_words
from driftline.sources.frames import frame_of_pandas, frame_of_table

N = 60
X = np.random.default_rng(8).normal(size=N)
HOURS = [dt.datetime(2024, 1, 1) + dt.timedelta(hours=i) for i in range(N)]
IST = dt.timezone(dt.timedelta(hours=5, minutes=30))
WHOLE = pa.array(range(N))

UNREAD: dict[str, tuple[pa.Array, str]] = {
    "decimal256": (pa.array([Decimal(i) for i in range(N)], pa.decimal256(60, 2)), "Decimal256(60, 2)"),
    "union": (
        pa.UnionArray.from_sparse(pa.array([0, 1] * (N // 2), pa.int8()), [WHOLE, WHOLE.cast(pa.string())]),
        'Union(Sparse, 0: ("0": Int64), 1: ("1": Utf8))',
    ),
    "interval": (pa.array([pa.MonthDayNano([1, i, 3]) for i in range(N)]), "Interval(MonthDayNano)"),
    "decimals in a list": (pa.array([[Decimal(1)]] * N, pa.list_(pa.decimal256(60, 2))), "List(Decimal256(60, 2))"),
    "offsets in a struct": (
        pa.array([{"a": HOURS[0]}] * N, pa.struct([("a", pa.timestamp("us", "-0330"))])),
        'Struct("a": Timestamp(µs, "-0330"))',
    ),
    "tensor": (pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((N, 2, 2))), "arrow.fixed_shape_tensor"),
    "map": (pa.array([[("a", i)] for i in range(N)], pa.map_(pa.string(), pa.int64())), "Map(String, Int64)"),
    "bytes": (pa.array([b"x"] * N), "Binary"),
}
READ: dict[str, tuple[pa.Array, pl.DataType]] = {
    "decimal256 of few digits": (pa.array([Decimal(i) for i in range(N)], pa.decimal256(20, 2)), pl.Decimal(20, 2)),
    "decimal32": (pa.array([Decimal(i) for i in range(N)], pa.decimal32(5, 1)), pl.Decimal(5, 1)),
    "thousands": (pa.array([Decimal(i) * 1000 for i in range(N)], pa.decimal128(10, -2)), pl.Decimal(12, 0)),
    "an offset": (pa.array(HOURS, pa.timestamp("us", "+05:30")), pl.Datetime("us", "UTC")),
    "an offset without a colon": (pa.array(HOURS, pa.timestamp("ns", "-0330")), pl.Datetime("ns", "UTC")),
    "a zone that is none": (pa.array(HOURS, pa.timestamp("ms", "Mars/Phobos")), pl.Datetime("ms", "UTC")),
    "a zone": (pa.array(HOURS, pa.timestamp("us", "Asia/Kolkata")), pl.Datetime("us", "UTC")),
    "encoded offsets": (
        pa.array(HOURS, pa.timestamp("us", "+05:30")).dictionary_encode(),
        pl.Datetime("us", "UTC"),
    ),
    "runs": (pa.RunEndEncodedArray.from_arrays(pa.array([N], pa.int32()), pa.array([1.5])), pl.Float64()),
    "a list in views": (pa.array([[1.0, 2.0]] * N, pa.list_view(pa.float64())), pl.List(pl.Float64)),
    "float16": (pa.array(np.arange(N, dtype=np.float16)), pl.Float16() if hasattr(pl, "Float16") else pl.Float32()),
    "uint64": (pa.array([2**64 - 1 - i for i in range(N)], pa.uint64()), pl.UInt64()),
    "views of texts": (pa.array(["a", "b"] * (N // 2), pa.string_view()), pl.String()),
    "large texts": (pa.array(["a", "b"] * (N // 2), pa.large_string()), pl.String()),
    "encoded numbers": (pa.array([1, 2] * (N // 2)).dictionary_encode(), pl.Int64()),
    "time of day": (pa.array([dt.time(i % 24) for i in range(N)], pa.time32("s")), pl.Time()),
    "the last year": (pa.array([dt.datetime(9999, 12, 31)] * N, pa.timestamp("us")), pl.Datetime("us")),
    "the first year": (pa.array([dt.datetime(1, 1, 1)] * N, pa.timestamp("us")), pl.Datetime("us")),
    "beyond any year": (pa.array([2**62] * N, pa.timestamp("ms")), pl.Datetime("ms")),
    "no values": (pa.nulls(N), pl.Null()),
}


def parquet(table: pa.Table, folder: Path) -> Path:
    pq.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


def arrow_file(table: pa.Table, folder: Path) -> Path:
    with (folder / "rows.arrow").open("wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return folder / "rows.arrow"


def arrow_stream(table: pa.Table, folder: Path) -> Path:
    with (folder / "rows.arrows").open("wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return folder / "rows.arrows"


DOORS: dict[str, Callable[[pa.Table, Path], Any]] = {
    "table": lambda table, folder: table,
    "reader": lambda table, folder: table.to_reader(max_chunksize=7),
    "batches": lambda table, folder: table.to_batches(max_chunksize=7),
    "parquet": parquet,
    "folder": lambda table, folder: parquet(table, folder).parent,
    "arrow": arrow_file,
    "arrows": arrow_stream,
}


NOT_IN_PARQUET = ("union", "interval", "runs", "thousands")


def through_all(kinds: Iterable[str]) -> list[tuple[str, str]]:
    """Every kind through every door, but for what a file of that door cannot hold."""
    return [
        (door, kind)
        for kind in kinds
        for door in DOORS
        if door not in ("parquet", "folder") or kind not in NOT_IN_PARQUET
    ]


@pytest.mark.parametrize(("door", "kind"), through_all(UNREAD))
def test_a_column_that_cannot_be_compared_ends_nothing(tmp_path: Path, door: str, kind: str) -> None:
    odd, words = UNREAD[kind]
    table = pa.table({"x": X, "odd": odd})
    report = driftline.check(DOORS[door](table, tmp_path), DOORS[door](table, tmp_path))
    assert report.columns["x"].drift.measure == "wasserstein"
    problem = report.columns["odd"].problem or ""
    assert problem.startswith(f"columns of type {words.removesuffix(')')}") and problem.endswith("are not compared")
    assert report.columns["odd"].kind == "unsupported" and not report.alerts
    ignoring = driftline.check(DOORS[door](table, tmp_path), DOORS[door](table, tmp_path), ignore=["odd"])
    assert list(ignoring.columns) == ["x"]


@pytest.mark.parametrize(("door", "kind"), through_all(READ))
def test_rare_types_are_read_as_what_they_say(tmp_path: Path, door: str, kind: str) -> None:
    odd, dtype = READ[kind]
    table = pa.table({"x": X, "odd": odd})
    rows = rows_of(DOORS[door](table, tmp_path), "reference")
    rows.sample()
    frame = pl.concat(rows.batches(["odd", "x"]))
    assert frame["x"].to_list() == X.tolist()
    assert frame.schema["odd"] == rows.schema["odd"]
    assert frame["odd"].null_count() == (N if kind == "no values" else 0)
    if kind.startswith(("an offset", "a zone", "encoded offsets")):  # Arrow counts from 1970 in UTC, whatever the zone
        assert frame["odd"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_list() == HOURS
    elif door not in ("parquet", "folder"):  # which has types of its own
        assert frame.schema["odd"] == dtype
    report = driftline.check(DOORS[door](table, tmp_path), DOORS[door](table, tmp_path))
    assert report.columns["x"].drift.measure == "wasserstein" and not report.alerts


@pytest.mark.parametrize("part", ["label", "time", "id"])
def test_such_a_column_plays_no_part(part: str) -> None:
    table = pa.table({"x": X, "odd": UNREAD["union"][0]})
    with pytest.raises(DataError, match=r"the .* column 'odd' is of type Union\(Sparse"):
        driftline.check(table, table, **{part: "odd"})


def test_an_ignored_column_is_not_even_read(tmp_path: Path) -> None:
    """Its pages are overwritten with zeros, which nobody could decode; all else is as it was."""
    table = pa.table({"x": X, "odd": [f"text {i}" for i in range(N)]})
    pq.write_table(table, tmp_path / "rows.parquet", compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(tmp_path / "rows.parquet").metadata.row_group(0).column(1)
    with (tmp_path / "rows.parquet").open("r+b") as file:
        file.seek(column.data_page_offset)
        file.write(bytes(column.total_compressed_size))
    with pytest.raises(DataError, match="cannot be read"):
        driftline.check(tmp_path / "rows.parquet", tmp_path / "rows.parquet")
    report = driftline.check(tmp_path / "rows.parquet", tmp_path / "rows.parquet", ignore=["odd"])
    assert list(report.columns) == ["x"] and report.rows.current == N


def test_only_what_is_asked_for_is_asked_of_a_source() -> None:
    asked: list[list[str]] = []
    table = pa.table({"x": X, "odd": UNREAD["union"][0], "y": X})

    def opened(columns: Any) -> Any:
        asked.append(list(columns))
        return table.select(columns).to_reader()

    empty = pa.RecordBatchReader.from_batches(table.schema, [])
    rows = rows_module.ReopenedRows(opened, empty, "rows", N, ignore=["odd"])
    assert rows.sample().columns == ["x", "odd", "y"]
    assert pl.concat(rows.batches(["y"]))["y"].to_list() == X.tolist()
    assert asked == [["x", "y"], ["y"]]


def test_without_pyarrow_the_column_is_named_and_can_be_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftline.sources.files.rows_by_pyarrow", lambda *_: None)
    path = parquet(pa.table({"x": X, "odd": UNREAD["decimal256"][0]}), tmp_path)
    with pytest.raises(DataError, match=r"Decimal\(precision=60, scale=2\) are not read, such as 'odd'"):
        driftline.check(path, path)
    assert list(driftline.check(path, path, ignore=["odd"]).columns) == ["x"]


def test_files_by_pyarrow_are_those_by_polars(tmp_path: Path) -> None:
    table = pa.table({"x": X, "n": range(N), "word": ["a", "b"] * (N // 2)})
    for write in (parquet, arrow_file, arrow_stream):
        rows = arrow_files.rows_by_pyarrow([write(table, tmp_path)], "rows", ())
        assert rows is not None and rows.count in (N, None)
        assert_frame_equal(pl.concat(rows.batches(["word", "x"])), pl.DataFrame(table).select("word", "x"))
        texts = rows.retyped(["n"])
        assert texts.schema["n"] == pl.String == texts.sample().schema["n"]
        assert pl.concat(texts.batches(["n"]))["n"].to_list() == [str(i) for i in range(N)]


def test_the_command_reads_the_others(tmp_path: Path) -> None:
    path = parquet(pa.table({"x": X, "big": UNREAD["decimal256"][0]}), tmp_path)
    for more in ([], ["--ignore", "big"]):
        done = subprocess.run(
            [sys.executable, "-m", "driftline", "check", str(path), str(path), *more],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


# ---- pandas ------------------------------------------------------------------------------------------------


PANDAS: dict[str, tuple[Any, str, str]] = {
    "arrays of two dimensions": ([np.eye(2)] * N, "unsupported", "columns of type ndarray are not compared"),
    "arrays": ([np.ones(3)] * N, "embedding", ""),
    "complex": (X + 1j, "unsupported", "columns of type complex128 are not compared"),
    "intervals": (pd.cut(X, 3), "unsupported", "columns of type pandas.interval are not compared"),
    "periods": (pd.period_range("2024-01", periods=N), "unsupported", "columns of type pandas.period are not compared"),
    "sparse": (pd.arrays.SparseArray([0, 0, 1.5] * (N // 3)), "numeric", ""),
    "categories of numbers": (pd.Categorical([1, 2, 3] * (N // 3)), "numeric", ""),
    "offsets": ([time.replace(tzinfo=IST) for time in HOURS], "datetime", ""),
    "objects with offsets": (pd.Series([time.replace(tzinfo=IST) for time in HOURS], dtype=object), "datetime", ""),
    "decimals of many digits": ([Decimal(10) ** 50] * N, "unsupported", "Decimal256(51, 0)"),
    "objects": ([object()] * N, "unsupported", "columns of type object are not compared"),
    "nothing": ([None] * N, "categorical", ""),
    "numbers and texts": (([1, "a", None, 2.5] * N)[:N], "categorical", ""),
    "long doubles": (np.ones(N, np.longdouble), "numeric", ""),
    "identifiers": ([uuid.UUID(int=i) for i in range(N)], "unsupported", ""),
    "members": ([enum.Enum("E", "A").A] * N, "", ""),
    "pd.NA": (pd.Series([1.5, pd.NA] * (N // 2), dtype=object), "numeric", ""),
}


@pytest.mark.parametrize("kind", PANDAS)
@pytest.mark.parametrize("without", ["", "pyarrow"])
def test_columns_of_pandas(kind: str, without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, expected, words = PANDAS[kind]
    frame = pd.DataFrame({"x": X, "odd": values})
    if without:
        monkeypatch.setattr("driftline.sources.frames.frame_of_table", no_pyarrow)
    report = driftline.check(frame, frame)
    assert report.columns["x"].drift.measure == "wasserstein" and not report.alerts
    if not without:
        assert expected in ("", report.columns["odd"].kind) and words in (report.columns["odd"].problem or "")
    assert list(driftline.check(frame, frame, ignore=["odd"]).columns) == ["x"]


def no_pyarrow(*_: Any) -> Any:
    raise ImportError("pyarrow is not installed")


def test_offsets_are_the_same_instants_as_objects_and_as_times() -> None:
    times = pd.Series([time.replace(tzinfo=IST) for time in HOURS])
    found = [
        frame_of_pandas(pd.DataFrame({"t": column}))["t"].cast(pl.Datetime("us", "UTC"))
        for column in (times, times.astype(object), times.dt.tz_convert("UTC"))
    ]
    assert found[0].to_list() == [time.replace(tzinfo=IST) for time in HOURS]
    for other in found[1:]:
        assert_series_equal(other, found[0])


def test_names_that_are_no_texts_and_names_that_come_twice() -> None:
    frame = pd.DataFrame(np.c_[X, X, X, X], columns=pd.Index(["x", 1, None, ("a", "b")], tupleize_cols=False))
    assert set(driftline.check(frame, frame).columns) == {"x", "1", "None", "('a', 'b')"}
    levels = pd.DataFrame(np.c_[X, X], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    assert set(driftline.check(levels, levels).columns) == {"('a', 'b')", "('a', 'c')"}
    twice = pd.DataFrame(np.c_[X, X, X], columns=pd.Index(["x", "1", 1], dtype=object))
    with pytest.raises(DataError, match="the column '1' comes more than once"):
        driftline.check(twice, twice)
    assert list(driftline.check(twice, twice, ignore=["1"]).columns) == ["x"]


@pytest.mark.parametrize("write", [parquet, arrow_file])
def test_an_index_of_pandas_that_nobody_named_is_no_column(
    tmp_path: Path, write: Callable[[pa.Table, Path], Path]
) -> None:
    frame = pd.DataFrame({"x": X}, index=pd.Index([3 * i for i in range(N)]))
    table = pa.Table.from_pandas(frame)
    assert "__index_level_0__" in table.column_names
    path = write(table, tmp_path)
    for rows in (frame, table, table.to_reader(), path):
        assert list(rows_of(rows, "reference").schema) == ["x"]
    assert list(driftline.check(frame, path).columns) == ["x"]


def test_other_frames() -> None:
    for odd in (pl.Series([object()] * N, dtype=pl.Object), pl.Series([{"a": 1}] * N), pl.Series([2**100] * N)):
        frame = pl.DataFrame({"x": X, "odd": odd})
        assert driftline.check(frame, frame).columns["x"].drift.measure == "wasserstein"
    connection = duckdb.connect()
    for value in (
        "interval 1 day",
        "1::uhugeint",
        "union_value(k := 1)",
        "'101'::bit",
        "uuid()",
        "timestamp 'infinity'",
    ):
        connection.execute(f"create or replace table t as select i * 1.5 as x, {value} as odd from range(60) r(i)")
        report = driftline.check(connection.table("t"), connection.table("t"))
        assert report.columns["x"].drift.measure == "wasserstein" and "odd" in report.columns


# ---- laws --------------------------------------------------------------------------------------------------


TYPES = st.recursive(
    st.sampled_from(
        [
            *(pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.string(), pa.bool_(), pa.binary(), pa.date32()),
            *(pa.timestamp("us"), pa.timestamp("s", "+05:30"), pa.timestamp("ns", "UTC"), pa.duration("ms")),
            *(pa.decimal128(38, 2), pa.decimal256(60, 2), pa.decimal64(9, 2), pa.month_day_nano_interval(), pa.null()),
        ]
    ),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.list_view),
        inner.map(lambda dtype: pa.list_(dtype, 2)),
        inner.map(lambda dtype: pa.struct([("a", dtype), ("Union(", pa.int8())])),
        inner.map(lambda dtype: pa.map_(pa.string(), dtype)),
        inner.map(lambda dtype: pa.sparse_union([pa.field("a", dtype)])),
    ),
    max_leaves=3,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(TYPES, min_size=1, max_size=4))
def test_the_gate_lets_in_any_type_and_says_so_before(types: list[pa.DataType]) -> None:
    """Whatever the types: as many columns and rows come out as went in, by name, and missing ones are as many."""
    fields = [pa.field(f"c{place}", dtype) for place, dtype in enumerate(types)]
    nothing = pa.RecordBatchReader.from_batches(pa.schema(fields), [])
    rows = rows_of(nothing, "reference")
    assert list(rows.schema) == [field.name for field in fields]
    nulls = [pa.nulls(3, dtype) for dtype in types if not pa.types.is_union(dtype)]
    table = pa.table({f"c{place}": column for place, column in enumerate(nulls)})
    if table.num_columns:
        frame = frame_of_table(table)
        assert frame.columns == table.column_names and frame.height == 3
        assert all(frame[name].null_count() == 3 for name in frame.columns)


def test_what_is_taken_is_taken_as_it_is_the_second_time() -> None:
    from arro3.core import RecordBatchReader

    for odd, _ in (*READ.values(), *UNREAD.values()):
        schema = RecordBatchReader.from_stream(pa.table({"odd": odd})).schema
        target = taken(schema.field(0).type)
        assert isinstance(target, str) or taken(target) == target
        assert (
            Gate(schema, ignore=["odd"]).frame(schema.empty_table()).schema["odd"]
            == rows_of(pa.table({"odd": odd}), "", ignore=["odd"]).schema["odd"]
        )


def test_types_in_words() -> None:
    assert type_words(pl.Struct({"a": pl.Int8})) == "Struct({'a': Int8})"
