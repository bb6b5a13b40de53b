"""Rows of every kind come in batches, whole and in order; what is broken is one line that names it."""

from __future__ import annotations

import functools
import gzip
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from driftline.checks.inputs import rows_of
from driftline.environment import s3_settings
from driftline.errors import DataError, UsageError
from driftline.events.missing import MISSING_TEXTS
from driftline.sources.files import open_rows, read_rows, whole
from driftline.sources.rows import HEAD_ROWS, Rows, batch_rows
from tests.support.s3 import S3

N = 2 * HEAD_ROWS + 17
FRAME = pl.DataFrame(
    {
        "number": [i / 2 if i % 7 else None for i in range(N)],
        "whole": range(N),
        "text": [f"t{i % 5}" for i in range(N)],
        "yes": [i % 3 == 0 for i in range(N)],
        "day": [date(2024, 1, 1 + i % 28) for i in range(N)],
    }
)

WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "rows.parquet": pl.DataFrame.write_parquet,
    "rows.pq": lambda frame, path: frame.write_parquet(path, row_group_size=1000),
    "rows.csv": pl.DataFrame.write_csv,
    "rows.tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "rows.csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_csv().encode())),
    "rows.arrow": pl.DataFrame.write_ipc,
    "rows.arrows": pl.DataFrame.write_ipc_stream,
    "rows.feather": pl.DataFrame.write_ipc,
    "ROWS.PARQUET": pl.DataFrame.write_parquet,
    "table": lambda frame, path: deltalake.write_deltalake(path, frame),
}

HANDED: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda frame: frame,
    "lazy": lambda frame: frame.lazy(),
    "pandas": lambda frame: frame.to_pandas(),
    "pandas index": lambda frame: frame.to_pandas().set_index(pd.Index(range(5, N + 5), name="row")),
    "pyarrow table": lambda frame: frame.to_arrow(),
    "pyarrow reader": lambda frame: frame.to_arrow().to_reader(max_chunksize=1000),
    "record batches": lambda frame: frame.to_arrow().to_batches(max_chunksize=5000),
    "duckdb": lambda frame: duckdb.connect().from_arrow(frame.to_arrow()),
    "duckdb reader": lambda frame: duckdb.connect().from_arrow(frame.to_arrow()).to_arrow_reader(1000),
}


def collected(rows: Rows, columns: list[str]) -> pl.DataFrame:
    sample = rows.sample()
    assert 0 < sample.height <= N
    assert set(columns) <= set(sample.columns)
    batches = list(rows.batches(columns))
    assert len(batches) > 1 or N <= 262_144
    return pl.concat(batches)


def as_in(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as a file of this name gives it back: a text file has no dates, only texts."""
    typed = not any(suffix in name for suffix in (".csv", ".tsv"))
    return frame if typed else frame.with_columns(pl.col("day").cast(pl.String))


@pytest.mark.parametrize("name", WRITERS)
def test_files_of_every_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](FRAME, path)
    rows = open_rows(path)
    assert rows.count in (None, N)
    columns = ["text", "number", "day"]
    assert_frame_equal(collected(rows, columns), as_in(name, FRAME).select(columns))
    assert_frame_equal(read_rows(path), as_in(name, FRAME), check_column_order=False)


def test_ndjson_has_no_dates(tmp_path: Path) -> None:
    FRAME.write_ndjson(tmp_path / "rows.ndjson")
    rows = open_rows(tmp_path / "rows.ndjson")
    assert_frame_equal(collected(rows, ["whole", "text"]), FRAME.select("whole", "text"))


def test_a_delta_table(tmp_path: Path) -> None:
    deltalake.write_deltalake(tmp_path / "table", FRAME)
    rows = rows_of(deltalake.DeltaTable(tmp_path / "table"), "reference")
    assert rows.count == N
    assert_frame_equal(collected(rows, ["whole"]), FRAME.select("whole"))


@pytest.mark.parametrize("kind", HANDED)
def test_whatever_hands_out_arrow(kind: str) -> None:
    rows = rows_of(HANDED[kind](FRAME), "reference")
    columns = ["whole", "text", "yes"]
    assert_frame_equal(collected(rows, columns), FRAME.select(columns))


@pytest.mark.parametrize("name", WRITERS)
def test_whole_numbers_of_every_file_can_be_read_as_texts(tmp_path: Path, name: str) -> None:
    WRITERS[name](FRAME, tmp_path / name)
    rows = open_rows(tmp_path / name)
    rows.sample()
    as_texts = rows.retyped(["whole", "text", "not there"])
    assert as_texts.count == rows.count and as_texts.narrow == rows.narrow
    assert {**rows.schema, "whole": pl.String()} == as_texts.schema
    expected = as_in(name, FRAME).with_columns(pl.col("whole").cast(pl.String))
    assert_frame_equal(collected(as_texts, list(FRAME.columns)), expected)
    assert_frame_equal(as_texts.sample(), expected.head(as_texts.sample().height), check_column_order=False)
    assert_frame_equal(collected(rows, list(FRAME.columns)), as_in(name, FRAME))


@pytest.mark.parametrize("kind", HANDED)
def test_whole_numbers_of_every_frame_can_be_read_as_texts(kind: str) -> None:
    rows = rows_of(HANDED[kind](FRAME), "reference")
    rows.sample()
    columns = ["whole", "number", "text"]
    expected = FRAME.select(columns).with_columns(pl.col("whole").cast(pl.String))
    as_texts = rows.retyped(["number"]).retyped(["whole"])
    assert_frame_equal(as_texts.sample().select(columns), expected.head(as_texts.sample().height))
    assert_frame_equal(pl.concat(as_texts.batches(columns)), expected)


WRITTEN = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='",#'), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(values=st.lists(WRITTEN | st.sampled_from(["02139", "17.0", "1e3", "True", "-0", "NA"]), min_size=1))
def test_texts_are_as_they_are_written(tmp_path: Path, values: list[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["code,n", *(f"{value},{i}" for i, value in enumerate(values))]))
    read = pl.concat(open_rows(path).retyped(["code"]).batches(["code", "n"]))
    expected = [None if value in MISSING_TEXTS else value for value in values]
    assert read.rows() == list(zip(expected, range(len(values)), strict=True))


def test_texts_of_a_pattern_of_packed_files_and_of_a_large_one_are_as_they_are_written(tmp_path: Path) -> None:
    for part in range(2):
        (tmp_path / f"{part}.csv.gz").write_bytes(gzip.compress(b"zip,x\n02139,17.0\n10001,2\n"))
    rows = open_rows(tmp_path / "*.csv.gz").retyped(["zip", "x"])
    assert pl.concat(rows.batches(["zip", "x"])).rows() == [("02139", "17.0"), ("10001", "2")] * 2
    lines = [f"{i % 90_000:05},{'x' * 200},{i if i < 90_000 else 'late'}" for i in range(100_000)]
    (tmp_path / "large.csv").write_text("zip,pad,late\n" + "\n".join(lines))
    large = open_rows(tmp_path / "large.csv").retyped(["zip"])
    assert large.sample().schema["zip"] == pl.String and large.sample().schema["late"] == pl.Int64
    assert [zip_ for batch in large.batches(["zip"]) for zip_ in batch["zip"]] == [line[:5] for line in lines]
    late = pl.concat([batch.cast(pl.String) for batch in large.batches(["late", "zip"])])
    assert late["zip"].to_list() == [line[:5] for line in lines] and late["late"][-1] == "late"


def test_dates_of_a_csv_are_texts_so_that_nobody_swaps_day_and_month(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("day\n01/02/2024\n03/02/2024\n2024-03-01\n")
    assert read_rows(tmp_path / "x.csv")["day"].to_list() == ["01/02/2024", "03/02/2024", "2024-03-01"]


def test_missing_spellings_leave_a_column_of_numbers_one_and_can_be_others(tmp_path: Path) -> None:
    texts = [text for text in MISSING_TEXTS if text]
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i},{text}\n{i},1.5\n" for i, text in enumerate(texts)))
    assert read_rows(tmp_path / "x.csv")["b"].to_list() == [None, 1.5] * len(texts)
    (tmp_path / "y.csv").write_text("a,b\n-999,NA\n1,b\n")
    assert read_rows(tmp_path / "y.csv", ["-999"]).rows() == [(None, "NA"), (1, "b")]
    assert rows_of(tmp_path / "y.csv", "reference", ["-999"]).sample().rows() == [(None, "NA"), (1, "b")]


def test_a_reader_is_never_whole_in_memory() -> None:
    """Batches are asked for one at a time: after the first one is used, not all have been drawn."""
    drawn = 0

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal drawn
        for start in range(0, 50 * 1000, 1000):
            drawn += 1
            yield pa.record_batch({"x": list(range(start, start + 1000))})

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), source())
    batches = rows_of(reader, "reference").batches(["x"])
    first = next(batches)
    assert drawn < 10
    assert sum(batch.height for batch in batches) == 50_000 - first.height


@pytest.mark.parametrize(
    ("sizes", "drawn"), [([1] * 9_000, 4), ([0, 3, 0, 0, 20_000, 0], 10), ([600_000], 10), ([], 0)]
)
def test_batches_of_a_reader_are_put_together_or_cut(sizes: list[int], drawn: int) -> None:
    """What is done for a batch costs milliseconds: two thousand batches of one row took twenty seconds."""
    ends = np.cumsum(sizes, dtype=np.int64)
    values = (pa.record_batch({"x": np.arange(end - size, end)}) for size, end in zip(sizes, ends, strict=True))
    rows = rows_of(pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), values), "reference")
    assert rows.sample()["x"].to_list() == list(range(min(sum(sizes), HEAD_ROWS)))
    batches = list(rows.batches(["x"]))
    assert [x for batch in batches for x in batch["x"]] == list(range(sum(sizes)))
    assert len(batches) <= drawn and max((batch.height for batch in batches), default=0) <= batch_rows(1)


def test_what_the_source_of_a_reader_raises_is_told_in_one_line() -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"x": [1]})
        raise RuntimeError("the database went away")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), source())
    with pytest.raises(DataError, match=r"reference cannot be read: .*the database went away$"):
        rows_of(reader, "reference").sample()


def test_a_pattern_and_a_folder_are_one_table(tmp_path: Path) -> None:
    for part in range(3):
        FRAME.slice(part * 1000, 1000).write_parquet(tmp_path / f"part-{part}.parquet")
    expected = FRAME.head(3000)
    for name in (str(tmp_path / "part-*.parquet"), str(tmp_path)):
        rows = open_rows(name)
        assert rows.count == 3000
        assert_frame_equal(pl.concat(rows.batches(list(FRAME.columns))), expected)


def test_a_type_that_shows_late_in_a_large_csv_file(tmp_path: Path) -> None:
    """Only the first rows of a large text file are looked at for its types; a later surprise does not stop it."""
    path = tmp_path / "late.csv"
    lines = [f"{i},{'x' * 200}" for i in range(100_000)]
    lines[90_000] = f"about 5,{'x' * 200}"
    path.write_text("a,pad\n" + "\n".join(lines))
    assert path.stat().st_size > 16 << 20
    rows = open_rows(path)
    assert rows.sample().schema["a"] == pl.Int64
    values = [str(value) for batch in rows.batches(["a"]) for value in batch["a"].to_list()]
    assert len(values) == 100_000 and values[90_000] == "about 5" and values[-1] == "99999"


MISTAKES: dict[str, tuple[str, bytes | None, type[Exception], str]] = {
    "nothing there": ("no.parquet", None, UsageError, "there is no such file"),
    "a pattern that nothing fits": ("no-*.parquet", None, UsageError, "no file fits"),
    "a kind that is not read": ("x.xlsx", b"x", UsageError, r"'.xlsx' are not read; allowed are .parquet"),
    "a pattern of folders that nothing fits": ("no-*/*.parquet", None, UsageError, "no file fits"),
    "a name too long": ("x" * 5000, None, DataError, "cannot be read"),
    "a name without a suffix": ("rows", b"a\n1\n", UsageError, "without a suffix are not read; allowed are .parquet"),
    "an empty csv": ("x.csv", b"", DataError, "is empty"),
    "no parquet": ("x.parquet", b"PAR1 this is not one", DataError, "cannot be read"),
    "no arrow": ("x.arrow", b"ARROW1 nor this", DataError, "cannot be read"),
    "semicolons here and there": (
        "x.csv",
        b"a;b\n1;2\n3;4;5\n",
        DataError,
        "separated by ';'; separate them by commas",
    ),
    "commas here and there": ("x.tsv", b"a,b\n1,2\n3,4,5\n", DataError, "separated by ','"),
    "a column twice": ("x.csv", b"a,a\n1,2\n", DataError, "'a' comes more than once"),
    "a ragged csv": ("x.csv", b"a,b\n1,2\n3,4,5,6\n", DataError, "line 3 has 4 fields, the header has 2"),
}


SIGNS = ("br[1]", "what?", "st*r", "[!a]", "with space", "ünï")


@pytest.mark.parametrize("writer", ["rows.parquet", "rows.csv", "rows.csv.gz", "rows.arrow", "rows.arrows"])
def test_a_name_that_is_there_is_no_pattern(tmp_path: Path, writer: str) -> None:
    for sign in SIGNS:
        WRITERS[writer](FRAME.head(10), tmp_path / f"{sign}-{writer}")
        (tmp_path / f"{sign} folder").mkdir()
        FRAME.head(10).write_parquet(tmp_path / f"{sign} folder" / "x.parquet")
    for sign in SIGNS:
        expected = as_in(writer, FRAME.head(10))
        assert_frame_equal(read_rows(tmp_path / f"{sign}-{writer}"), expected, check_column_order=False)
        assert read_rows(tmp_path / f"{sign} folder").height == 10


def test_a_pattern_of_streams_is_one_table(tmp_path: Path) -> None:
    for part in range(2):
        FRAME.slice(part * 10, 10).write_ipc_stream(tmp_path / f"{part}.arrows")
    assert_frame_equal(read_rows(tmp_path / "*.arrows"), FRAME.head(20))


@pytest.mark.parametrize("name", ["a table", "ünï", "a#1"])
def test_a_delta_table_may_have_any_name(tmp_path: Path, name: str) -> None:
    parts = FRAME.head(100).with_columns(part=pl.Series(["a b", "ü", "c/d", "%20"] * 25))
    deltalake.write_deltalake(tmp_path / name, parts, partition_by=["part"])
    assert_frame_equal(read_rows(tmp_path / name).sort("whole"), parts)


@pytest.mark.parametrize("name", ["table.parquet", "table.v1"])
def test_a_delta_table_is_one_whatever_its_name_ends_in(tmp_path: Path, name: str) -> None:
    """Read as a folder of Parquet files, it would still have the rows that were deleted."""
    deltalake.write_deltalake(tmp_path / name, FRAME.head(100))
    deltalake.DeltaTable(tmp_path / name).delete("whole < 60")
    assert read_rows(tmp_path / name)["whole"].to_list() == list(range(60, 100))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_broken_is_one_line_that_names_it(tmp_path: Path, mistake: str) -> None:
    name, data, error, words = MISTAKES[mistake]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=words) as caught:
        list(open_rows(tmp_path / name).batches(["a", "b"]))
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_one_column_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('"wind, m/s"\n1\n2\n')
    assert read_rows(tmp_path / "x.csv").columns == ["wind, m/s"]


def test_an_empty_path_is_not_the_root_of_the_disk() -> None:
    with pytest.raises(UsageError, match="an empty path came"):
        open_rows("")


def test_folders_without_tables(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without a Delta Lake table or Parquet"):
        open_rows(tmp_path)
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        open_rows(tmp_path)


# ---- an object store ---------------------------------------------------------------------------------------


@pytest.fixture
def bucket(s3: S3) -> str:
    """A place on an S3 server that no other test uses."""
    return s3.address()


def _put(address: str, content: bytes) -> None:
    """Put a file into the bucket as it is."""
    url = address.replace("s3://", os.environ["AWS_ENDPOINT_URL"] + "/").replace(" ", "%20")
    headers = {"Content-Type": "application/octet-stream"}
    urllib.request.urlopen(urllib.request.Request(url, content, headers, method="PUT"), timeout=60).close()


TEXT_FILES = {
    "utf-16.csv": ("a;b\n1,5;x\n2,5;y\n".encode("utf-16"), ["1,5", "2,5"]),
    "short lines.tsv": (b"a\tb\n1.5\n2.5\ty\n", [1.5, 2.5]),
    "packed.csv.gz": (gzip.compress(b"# made by x\n\na,b\n1.5,x\n2.5,y\n"), [1.5, 2.5]),
    "marked.ndjson": (b'\xef\xbb\xbf{"a": 1.5}\n\n{"a": null}\n', [1.5, None]),
}


def test_text_files_of_an_object_store_are_read_as_local_ones_are(bucket: str, tmp_path: Path) -> None:
    for name, (content, values) in TEXT_FILES.items():
        _put(f"{bucket}/far/{name}", content)
        (tmp_path / name).write_bytes(content)
        far, near = open_rows(f"{bucket}/far/{name}"), open_rows(tmp_path / name)
        assert whole(far)["a"].to_list() == values
        assert_frame_equal(whole(far), whole(near))
        assert [note.replace(f"{bucket}/far", str(tmp_path)) for note in far.notes] == list(near.notes)
    _put(f"{bucket}/far/long.csv", b"a,b\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match=r"far/long\.csv: line 3 has 3 fields, the header has 2"):
        whole(open_rows(f"{bucket}/far/long.csv"))
    _put(f"{bucket}/more/2.csv", b"a\n2\n")
    _put(f"{bucket}/more/1.csv", "a\n1\n".encode("utf-16"))
    assert whole(open_rows(f"{bucket}/more/*.csv"))["a"].to_list() == [1, 2]
    for missing in ("far/none.csv", "none/*.csv", "far/none.ndjson"):
        with pytest.raises(UsageError, match=r"there is no such file|no file fits"):
            open_rows(f"{bucket}/{missing}")
    with pytest.raises(UsageError, match="text files are not read from nowhere://"):
        open_rows("nowhere://bucket/rows.csv")


def test_text_files_of_a_web_server_are_read_as_local_ones_are(tmp_path: Path) -> None:
    for name, (content, _) in TEXT_FILES.items():
        (tmp_path / name).write_bytes(content)
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for name, (_, values) in TEXT_FILES.items():
            assert whole(open_rows(f"{address}/{name}"))["a"].to_list() == values
            signed = open_rows(f"{address}/{name}?key=1/2&signature=secret/")
            assert whole(signed)["a"].to_list() == values
            assert "secret" not in " ".join([signed.name, *signed.notes])
        for absent in ("none.csv", "none.csv?signature=secret", "none.ndjson?signature=secret"):
            with pytest.raises(UsageError, match=r"none\.[a-z]+: there is no such file"):
                open_rows(f"{address}/{absent}")
        server.shutdown()
    with pytest.raises(DataError, match="cannot be read"):
        open_rows(f"{address}/rows.csv")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_object_store(bucket: str) -> None:
    FRAME.write_parquet(f"{bucket}/rows.parquet", storage_options=s3_settings())
    FRAME.head(100).write_csv(f"{bucket}/rows.csv", storage_options=s3_settings())
    deltalake.write_deltalake(f"{bucket}/table", FRAME, storage_options=s3_settings())
    for name in (f"{bucket}/rows.parquet", f"{bucket}/*.parquet", f"{bucket}/table"):
        rows = open_rows(name)
        assert rows.count == N
        assert_frame_equal(pl.concat(rows.batches(["whole", "text"])), FRAME.select("whole", "text"))
    assert pl.concat(open_rows(f"{bucket}/rows.csv").batches(["whole"])).height == 100
    with pytest.raises(DataError, match="not found"):
        open_rows(f"{bucket}/missing.parquet")
