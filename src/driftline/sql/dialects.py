"""What databases say in different words, so that each gives bit for bit what Python does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from driftline.events import Window
from driftline.sketches import Grid
from driftline.sketches.moments import COARSE, FINE, TO_COARSE, TO_FINE
from driftline.sql.near import Near

FIRST_TIME, END_OF_TIME = "1000-01-01 00:00:00", "9000-01-01 00:00:00"
"""Times outside of these are none; see `driftline.profiles.layout.read_rows`."""


class Dialect(NamedTuple):
    """How one kind of database writes what is not the same everywhere; each is a template of `str.format`.

    ``high_bits`` are the high 16 bits of a float64 as float32, ``hour`` the whole hours of a time since 1970, and
    ``text`` a text that is equal to no other, whatever its collation. ``whole`` is an integer of 64 bits, and ``sums``
    a sum of such integers as a text, since it may have more than 64 bits. A ``fence`` keeps a planner from putting an
    expression into each place where its name stands. ``steps`` is how many lengths, in microseconds, a time is after
    the ``first`` one; empty where comparing is as quick.
    """

    name: str
    real: str
    whole: str
    sums: str
    high_bits: str
    hour: str
    text: str
    fence: str
    steps: str


DUCKDB = Dialect(
    name="DuckDB",
    real="DOUBLE",
    whole="BIGINT",
    sums="CAST(sum({0}) AS VARCHAR)",
    high_bits="((CAST(CAST(CAST({0} AS FLOAT) AS BIT) AS INTEGER) >> 16) & 65535)",
    hour="((epoch_us({0}) + 1000000000 * 3600000000) // 3600000000 - 1000000000)",
    text="{0} COLLATE C",
    fence="",
    steps="((epoch_us({0}) - ({first})) // {length})",
)
POSTGRESQL = Dialect(
    name="PostgreSQL",
    real="DOUBLE PRECISION",
    whole="BIGINT",
    sums="CAST(sum({0}) AS TEXT)",
    high_bits="(get_byte(float4send(CAST({0} AS REAL)), 0) * 256 + get_byte(float4send(CAST({0} AS REAL)), 1))",
    hour="CAST(floor(extract(epoch FROM {0}) / 3600) AS BIGINT)",
    text='{0} COLLATE "C"',
    fence=" OFFSET 0",
    steps="",
)


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL, whatever characters it has.

    >>> quoted('a"; DROP TABLE t')
    '"a""; DROP TABLE t"'
    """
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def number(value: float, dialect: Dialect) -> str:
    """Return a float64 as SQL reads it without rounding: as a text, since a plain number may be a decimal.

    >>> number(0.1, DUCKDB)
    "CAST('0.1' AS DOUBLE)"
    """
    return f"CAST('{value!r}' AS {dialect.real})"


def moment(text: str, kind: str) -> str:
    """Return a time in UTC as SQL compares it with a column of times, with or without a zone."""
    return f"TIMESTAMPTZ '{text}+00:00'" if kind == "instant" else f"TIMESTAMP '{text}'"


def window_number(time: str, kind: str, windows: Sequence[Window]) -> str:
    """Return the place of a time's window among ascending ones that hold all times; NULL for no time.

    Each row is compared with about as many starts of windows as their number has binary digits.
    """
    starts = [window.start for window in windows]
    there = is_time(time, kind)
    return f"CASE WHEN {there} THEN {_place(time, kind, starts, 0, len(starts))} END" if starts else "NULL"


def is_time(time: str, kind: str) -> str:
    """Return whether a time is one that is read."""
    return f"({time} >= {moment(FIRST_TIME, kind)} AND {time} < {moment(END_OF_TIME, kind)})"


def _place(time: str, kind: str, starts: Sequence[datetime], first: int, end: int) -> str:
    if end - first <= 1:
        return str(first)
    middle = (first + end) // 2
    start = moment(starts[middle].replace(tzinfo=None).isoformat(" ", "seconds"), kind)
    earlier, later = (_place(time, kind, starts, *part) for part in ((first, middle), (middle, end)))
    return f"CASE WHEN {time} < {start} THEN {earlier} ELSE {later} END"


def is_near(column: str, near: Near, among: str, dialect: Dialect) -> str:
    """Return whether a number is near its grid's centre, and satisfies another condition; never NULL."""
    low, high = number(near.low, dialect), number(near.high, dialect)
    return f"COALESCE({column} > {low} AND {column} < {high}{among}, FALSE)"


def scaled(column: str, grid: Grid, near: Near, dialect: Dialect) -> str:
    """Return ``(x - centre) / scale`` of near numbers, and 0 where it would be 0 as float32."""
    zero = f"{column} >= {number(near.zero_low, dialect)} AND {column} <= {number(near.zero_high, dialect)}"
    from_centre = f"({column} - {number(grid.centre, dialect)}) / {number(grid.scale, dialect)}"
    return f"CASE WHEN {zero} THEN {number(0.0, dialect)} ELSE {from_centre} END"


def coarse_of(scaled: str, dialect: Dialect) -> str:
    """Return a scaled number rounded to a multiple of 2**-`COARSE`."""
    return f"(({scaled} + {number(TO_COARSE, dialect)}) - {number(TO_COARSE, dialect)})"


def fine_of(scaled: str, coarse: str, dialect: Dialect) -> str:
    """Return what the coarse part leaves of a scaled number, rounded to a multiple of 2**-`FINE`."""
    left = f"(({scaled} - {coarse}) + {number(TO_FINE, dialect)})"
    return f"({left} - {number(TO_FINE, dialect)})"


def in_parts(rounded: str, bits: int, dialect: Dialect) -> str:
    """Return a multiple of 2**-``bits`` as a whole number of them."""
    return f"CAST({rounded} * {number(2.0**bits, dialect)} AS {dialect.whole})"


def cells(source: str, keys: str, column: str, numbers: Numbers, dialect: Dialect) -> str:
    """Return the statement that sums up the near numbers of a column by cell, and counts the others by value.

    ``keys`` are expressions that group the rows, named ``w`` and ``v``. The columns are those of
    `driftline.sql.near.column_of_cells`, and ``value`` for the others, whose ``cell`` is NULL.
    """
    x = f"CAST({column} AS {dialect.real})"
    near = is_near("x", numbers.near, numbers.among, dialect)
    coarse, fine = coarse_of("s", dialect), fine_of("s", "c", dialect)
    whole, rest = in_parts("c", COARSE, dialect), in_parts("f", FINE, dialect)
    total, fence = dialect.sums.format, dialect.fence
    return f"""
SELECT w, v, cell, value, count(*) AS rows, {total("i")} AS coarse, {total("j")} AS fine, {total("i * i")} AS squares,
  {total("i * j")} AS crosses, min(x) AS smallest, max(x) AS largest
FROM (SELECT w, v, x, value, {whole} AS i, {rest} AS j, {dialect.high_bits.format("s")} AS cell
FROM (SELECT w, v, x, value, s, c, {fine} AS f
FROM (SELECT w, v, x, value, s, {coarse} AS c
FROM (SELECT w, v, CASE WHEN near THEN x END AS x, CASE WHEN NOT near THEN x END AS value,
  CASE WHEN near THEN {scaled("x", numbers.grid, numbers.near, dialect)} END AS s
FROM (SELECT w, v, x, {near} AS near
FROM (SELECT {keys}, {x} AS x FROM {source} AS given) AS a{fence}) AS b{fence}) AS c) AS d{fence}) AS e{fence}) AS f
GROUP BY w, v, cell, value"""


class Numbers(NamedTuple):
    """How a column of numbers is counted: on which grid, which are near, and which of these alone (`` AND …``)."""

    grid: Grid
    near: Near
    among: str = ""


def values(source: str, keys: str, columns: Sequence[str]) -> str:
    """Return the statement that counts the rows by the values of some columns, named ``x0``, ``x1`` and so on."""
    names = [f"x{at}" for at in range(len(columns))]
    given = "".join(f", {column} AS {name}" for column, name in zip(columns, names, strict=True))
    listed = ", ".join(["w", "v", *names])
    return (
        f"SELECT {listed}, count(*) AS rows FROM (SELECT {keys}{given} FROM {source} AS given) AS a GROUP BY {listed}"
    )
