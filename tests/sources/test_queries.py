"""Queries as sources: lazy frames of Polars and relations of DuckDB, read in one pass and never held as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.io.plugins import register_io_source
from polars.testing import assert_frame_equal

import driftline
from driftline.checks.inputs import rows_of
from driftline.errors import DataError
from driftline.sources.rows import Rows

ROWS, BATCH = 140_000, 5_000
COLUMNS = ["x", "whole", "t"]


class Generated:
    """Rows that are made on the fly; counts how many times they were asked for, and how many batches were made."""

    def __init__(self, rows: int = ROWS) -> None:
        self.rows, self.passes, self.made = rows, 0, 0

    def frame(self, start: int, rows: int) -> pl.DataFrame:
        number = pl.int_range(start, start + rows)
        made = {"x": (number % 97) * 1.25, "whole": number % 5, "t": pl.lit("k") + (number % 7).cast(pl.String)}
        return pl.select(**made)

    def lazy(self) -> pl.LazyFrame:
        return register_io_source(self._batches, schema=self.frame(0, 1).schema)

    def _batches(
        self, columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        self.passes += 1
        end = self.rows if rows is None else min(rows, self.rows)
        for start in range(0, end, BATCH):
            self.made += 1
            frame = self.frame(start, min(BATCH, end - start))
            yield frame if columns is None else frame.select(columns)


def query(connection: duckdb.DuckDBPyConnection, rows: int = ROWS) -> duckdb.DuckDBPyRelation:
    return connection.sql(
        f"SELECT i % 97 * 1.25::DOUBLE AS x, i % 5 AS whole, 'k' || (i % 7) AS t FROM range({rows}) r(i)"
    )


def test_a_lazy_frame_is_executed_once_after_the_first_rows_and_never_collected() -> None:
    generated = Generated(5_000_000)
    rows = rows_of(generated.lazy(), "reference")
    assert rows.typed and not rows.narrow and rows.count is None
    assert rows.sample().height == 16_384
    generated.passes = generated.made = 0
    read = ahead = 0
    for batch in rows.batches(COLUMNS):
        read += batch.height
        ahead = max(ahead, generated.made * BATCH - read)
    assert (read, generated.passes) == (generated.rows, 1)
    assert ahead <= 2_000_000  # the engine runs ahead by a few of its batches, however many rows follow


def test_every_query_has_the_report_of_its_rows() -> None:
    frame, connection = Generated().frame(0, ROWS), duckdb.connect()
    other = frame.with_columns(pl.col("x") * 2)
    expected = driftline.check(frame, other).to_dict()
    assert expected["verdict"] == "alert"
    relation = query(connection)
    twice = connection.sql("SELECT x * 2 AS x, whole, t FROM relation")
    for before, now in [
        (relation, twice),  # of one connection, which has one open result at a time
        (Generated().lazy(), other.lazy()),
        (query(duckdb.connect()).to_arrow_reader(10_000), Generated().lazy().with_columns(pl.col("x") * 2)),
    ]:
        assert driftline.check(before, now).to_dict() == expected


def test_rows_in_another_order_at_each_reading_stay_whole() -> None:
    """What relates columns needs rows; columns read apart would be rows of nothing if the order changed between."""
    column = pl.int_range(20_000, eager=True).cast(pl.Float64)
    frame = pl.DataFrame({f"x{at}": column + at / 8 for at in range(8)})
    report = driftline.check(frame, frame.lazy().map_batches(_shuffled))
    assert report.dependence is not None and not report.dependence.drifted


def _shuffled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sample(fraction=1.0, shuffle=True)


def batches_of(rows: Rows, columns: list[str]) -> pl.DataFrame:
    return pl.concat(rows.batches(columns))


def test_streams_of_one_connection_are_opened_one_after_another() -> None:
    connection = duckdb.connect()
    one, other = (rows_of(query(connection), side) for side in ("reference", "current"))
    assert one.sample().height == other.sample().height == one.sample().height
    for rows in (one, other, one):
        assert_frame_equal(batches_of(rows, ["t", "x"]), Generated().frame(0, ROWS).select("t", "x"))
    abandoned = one.batches(["x"])
    assert len(next(abandoned))
    del abandoned
    assert batches_of(other.retyped(["whole"]), ["whole"])["whole"].to_list()[:6] == ["0", "1", "2", "3", "4", "0"]


def test_hostile_names_of_a_relation() -> None:
    relation = duckdb.connect().sql(
        'SELECT 1 AS "A", 2 AS a, 3 AS "x""; DROP TABLE t; --", 4 AS "#1", 5 AS __index_level_0__, 6 AS "é\n" '
        "FROM range(3)"
    )
    rows = rows_of(relation, "reference")
    assert list(rows.schema) == ["A", "a_1", 'x"; DROP TABLE t; --', "#1", "é\n"]
    assert rows.sample().row(0) == (1, 2, 3, 4, 6)
    for name, value in zip(rows.schema, rows.sample().row(0), strict=True):
        assert batches_of(rows, [name]).to_dict(as_series=False) == {name: [value] * 3}


def test_ignored_columns_of_a_relation_are_not_read() -> None:
    connection = duckdb.connect()
    read: list[int] = []

    def seen(number: int) -> int:
        read.append(number)
        return number

    connection.create_function("seen", seen, ["BIGINT"], "BIGINT", side_effects=True)
    relation = connection.sql("SELECT i AS x, seen(i) AS dear FROM range(100) r(i)")
    assert "dear" not in driftline.check(relation, relation, ignore=["dear"]).columns
    assert not read


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("SELECT error('it broke')::INT AS x FROM range(3)", "reference cannot be read: .*it broke"),
        ("SELECT 1 AS x WHERE false", "reference has no rows"),
    ],
)
def test_a_relation_that_fails(statement: str, problem: str) -> None:
    relation: Any = duckdb.connect().sql(statement)
    with pytest.raises(DataError, match=problem):
        driftline.check(relation, relation)


def test_an_open_result_of_the_user_is_named() -> None:
    connection = duckdb.connect()
    relation = query(connection)
    reading = query(connection).to_arrow_reader(1_000)
    assert reading.read_next_batch().num_rows
    with pytest.raises(DataError, match=r"cannot be read: .*open result"):
        driftline.check(relation, relation)
    del reading
    assert driftline.check(relation, relation).verdict == "ok"
