"""Profiles counted inside a database, and of the rows read from it: seconds of processor of this process.

    python -m benchmarks.in_database [--rows N] [--postgresql ADDRESS]

Without an address it is DuckDB, whose own work is in this process, too; of PostgreSQL the seconds of its server are
not counted here.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl

from driftline import sql
from driftline.checks.inputs import rows_of
from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles import Columns
from driftline.profiles.layout import Layout
from driftline.profiles.table import ProfileTable, profile_batches
from driftline.sketches import Grid

NUMBERS, CATEGORIES, EVERY = 8, 4, timedelta(seconds=30)
FEATURES = {f"n{at}": Kind.NUMERIC for at in range(NUMBERS)} | {f"c{at}": Kind.CATEGORICAL for at in range(CATEGORIES)}
_BATCH = 50_000


def frame_of(rows: int) -> pl.DataFrame:
    """Rows of eight normal numbers, four categories of 10 to 100 names, and a time every half minute."""
    rng = np.random.default_rng(0)
    start = datetime(2025, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    numbers = {f"n{at}": rng.normal(10 * at, 1 + at, rows) for at in range(NUMBERS)}
    names = {f"c{at}": rng.choice([f"k{name}" for name in range(10 + 90 * (at % 2))], rows) for at in range(CATEGORIES)}
    times = pl.datetime_range(start, start + EVERY * (rows - 1), EVERY, eager=True)
    targets = {name: rng.integers(0, 2, rows) for name in ("guess", "answer")}
    return pl.DataFrame({**numbers, **names, **targets, "at": times})


def layout_of(windows: WindowSpec | None) -> Layout:
    """The layout of these rows, on grids that suit them."""
    grids = {f"feature.n{at}": Grid(10.0 * at, 2.0 ** round(np.log2(1 + at))) for at in range(NUMBERS)}
    schema = Schema(Task.BINARY, FEATURES, classes=("0", "1"), positive="1")
    return Layout(Columns(time="at", prediction="guess", label="answer"), schema, grids, {}, windows)


def _of_duckdb(frame: pl.DataFrame) -> tuple[Any, Callable[[], Iterator[pl.DataFrame]]]:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE scored AS FROM frame")

    def batches() -> Iterator[pl.DataFrame]:
        rows = rows_of(connection.table("scored"), "scored")
        return rows.batches(list(rows.schema))

    return connection, batches


def _of_postgresql(frame: pl.DataFrame, address: str) -> tuple[Any, Callable[[], Iterator[pl.DataFrame]]]:
    import psycopg

    connection = psycopg.connect(address)
    kinds = {pl.Float64: "float8", pl.String: "text", pl.Int64: "bigint"}
    listed = ", ".join(f"{name} {kinds.get(dtype.base_type(), 'timestamp')}" for name, dtype in frame.schema.items())
    connection.execute(f"CREATE TEMP TABLE scored ({listed})")
    with connection.cursor() as cursor, cursor.copy("COPY scored FROM STDIN WITH (FORMAT csv)") as copy:
        copy.write(frame.write_csv(include_header=False))
    connection.commit()

    def batches() -> Iterator[pl.DataFrame]:
        with connection.cursor(name="rows") as cursor:
            cursor.execute("SELECT * FROM scored")
            while rows := cursor.fetchmany(_BATCH):
                yield pl.DataFrame(rows, schema=frame.schema, orient="row")

    return connection, batches


def _seconds(work: Callable[[], ProfileTable]) -> tuple[float, ProfileTable]:
    began = time.process_time()
    table = work()
    return time.process_time() - began, table


def main() -> None:
    """Measure, and print a row of a table for all rows and for windows of a day."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--postgresql", metavar="ADDRESS")
    asked = parser.parse_args()
    frame = frame_of(asked.rows)
    there = _of_postgresql(frame, asked.postgresql) if asked.postgresql else _of_duckdb(frame)
    connection, batches = there
    name = "PostgreSQL" if asked.postgresql else "DuckDB"
    for windows in (None, WindowSpec("1d")):
        layout = layout_of(windows)
        counted, one = _seconds(lambda layout=layout: sql.profile(connection, "scored", layout).table)
        read, other = _seconds(lambda layout=layout: profile_batches(batches(), layout))
        assert one == other
        sys.stdout.write(f"| {name} | {asked.rows:,} | {len(one.parts)} | {counted:.1f} s | {read:.1f} s |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
