"""Profiles on Apache Spark: partitions become profiles where they lie, which merge in a tree on the executors.

Spark only carries rows to `driftline.profiles.carried` and bytes back, so the result is, byte for byte, that of one
machine. Executors need this package, and PyArrow, without which Spark has no `mapInArrow`. Importing this module needs
no Spark; using it does, from 4.0 on.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftline.environment import share_this_python
from driftline.errors import DataError, UsageError
from driftline.profiles.carried import (
    KEYS,
    as_carried,
    columns_read,
    merge_group,
    profile_partition,
    told_apart,
)
from driftline.profiles.layout import Layout
from driftline.profiles.table import ProfileTable, from_frame
from driftline.sources.frames import frame_of_table
from driftline.sources.profiled import LAYOUT, MODEL, RELEASE, holds_profiles

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TYPES = (
    "`start` timestamp, `end` timestamp, version string, predictions bigint, labelled bigint, "
    "profile binary, segments binary, layout string, checksum string"
)
"""The columns of the result as Spark writes their types: those of `driftline.profiles.table.SCHEMA`."""

FAN_IN = 64
"""The profiles of so many partitions, of one window and version, are merged by one task of the first round."""

_RAISED = re.compile(r"^(?:driftline\.errors\.|[A-Za-z]*)[A-Za-z]+Error: (.+)$", re.MULTILINE)
_JAVA = re.compile(r"^:?\s*(?:[\w$]+\.)+[\w$]+(?:Exception|Error): ")
_WORDS = 300
_GROUP = "partitions"
_OTHERS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".arrow", ".feather", ".ipc", ".gz", ".zip")


def profile(frame: DataFrame, layout: Layout, by: Iterable[str] = KEYS, *, model: str = "") -> DataFrame:
    """Profile a frame of Spark. Returns a small frame of keys and bytes, which Spark computes when it is asked for.

    ``by`` says what rows are told apart by, any of ``window``, ``version`` and ``segment``; by none of them, all are
    one profile. Each window and version is a row, and its segments are in it. Its layout is that of
    `driftline.profiles.carried.told_apart`, and stands in each row, as does the name of the ``model``: written as
    Parquet or Delta, it is a table that `driftline check` and `driftline backtest` read like any history.

    Each partition is read once, in memory that does not grow with its rows. What it makes of a window goes to a task
    that merges it with that of other partitions, `FAN_IN` at a time; a second round merges the rest. So a task holds
    some dozens of profiles of one window, of some tens of kilobytes a column each, however unevenly windows are filled.
    """
    layout = told_apart(layout, by)
    telling = {MODEL: model, RELEASE: importlib.metadata.version("driftline"), LAYOUT: bytearray(as_carried(layout))}
    return _merged(frame, layout).withColumns({name: _functions().lit(value) for name, value in telling.items()})


def profile_table(frame: DataFrame, layout: Layout, by: Iterable[str] = KEYS) -> ProfileTable:
    """Profile a frame of Spark, see `profile`, and fetch the profiles to this process."""
    layout = told_apart(layout, by)
    return from_frame(frame_of_table(_merged(frame, layout).toArrow()), layout, "what Spark returned")


def profile_files(
    paths: Sequence[str],
    layout: Layout,
    by: Iterable[str] = KEYS,
    *,
    format: str | None = None,
    session: SparkSession | None = None,
) -> ProfileTable:
    """Profile files that Spark reads by itself: paths, patterns or addresses, as its reader takes them.

    They are Parquet, or tables of Delta, unless a ``format`` of Spark's is named. A column that only some files have is
    missing in the others. Without a ``session`` the active one is used, or one is made as Spark's own settings say.
    Raises `DataError` with Spark's words for what it cannot read.
    """
    format = format or _format_of(paths)
    _functions()
    with _in_words(", ".join(paths)):
        if session is None:
            from pyspark.sql import SparkSession

            share_this_python()
            session = SparkSession.builder.getOrCreate()
        reader = session.read.format(format).option("mergeSchema", True)
        return profile_table(reader.load(list(paths)), layout, by)


def _merged(frame: DataFrame, layout: Layout) -> DataFrame:
    functions = _functions()
    names = _require_frame(frame, layout)
    carried = as_carried(layout)
    # Columns go by number: a name may have dots and quotes in it, or differ from another one by case only.
    numbered = frame.toDF(*(f"c{place}" for place in range(len(frame.columns))))
    rows = numbered.select(*(f"c{frame.columns.index(name)}" for name in names))
    parts = rows.mapInArrow(lambda batches: profile_partition(batches, names, carried), TYPES)
    parts = parts.withColumn(_GROUP, functions.floor(functions.spark_partition_id() / FAN_IN))
    few = parts.groupBy("start", "version", _GROUP).applyInArrow(lambda some: merge_group(some, carried), TYPES)
    return few.groupBy("start", "version").applyInArrow(lambda some: merge_group(some, carried), TYPES)


@contextmanager
def _in_words(names: str) -> Iterator[None]:
    """Turn what Spark raises into one line: of what ended a worker the last one, else the first."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise DataError(f"{names} cannot be profiled by Spark: {words_of(str(error))}") from error


def words_of(message: str) -> str:
    """Return the one line of a message of Spark that says what is wrong; such a message goes on with traces.

    >>> words_of("[PATH_NOT_FOUND] Path does not exist: file:/x. SQLSTATE: 42K03;\\n'Relation [] parquet")
    '[PATH_NOT_FOUND] Path does not exist: file:/x. SQLSTATE: 42K03'
    >>> words_of("It was thrown.\\nTraceback\\n  File x\\ndriftline.errors.DataError: times are none\\n\\tat org")
    'times are none'
    >>> words_of("An error occurred while calling o27.load.\\n: org.apache.spark.SparkException: [X] It differs.\\n")
    '[X] It differs'
    """
    raised = _RAISED.findall(message)
    lines = [line for line in map(_bare, message.splitlines()) if line]
    return (raised[-1] if raised else next(iter(lines), "it did not say why")).rstrip(";. ")[:_WORDS]


def _bare(line: str) -> str:
    """A line without the name of Java's exception; nothing of one that says no more than that there was one."""
    return "" if line.startswith("An error occurred while calling") else _JAVA.sub("", line.strip())


def _format_of(paths: Sequence[str]) -> str:
    if not paths:
        raise UsageError("no path came; name the files to profile, or their folders")
    if others := [path for path in paths if path.lower().endswith(_OTHERS)]:
        raise UsageError(
            f"{others[0]} came, and Spark reads Parquet and Delta here; read it with Spark as has to be done, and give "
            "driftline.spark.profile the frame, or profile it with `driftline profile --engine local`"
        )
    return "delta" if all((Path(path) / "_delta_log").is_dir() for path in paths) else "parquet"


def _functions() -> Any:
    try:
        import pandas  # noqa: F401 – Spark's mapInArrow looks for it here, though not in the executors
        import pyarrow  # noqa: F401
        from pyspark.sql import functions
    except ImportError as error:
        raise UsageError(
            f"driftline.spark needs Spark, PyArrow and pandas, and {error.name or 'one'} is not installed here; run: "
            "python -m pip install 'driftline[spark]'"
        ) from error
    return functions


def _require_frame(frame: Any, layout: Layout) -> tuple[str, ...]:
    """Return the names of the columns to read; raises `UsageError` for what cannot be profiled."""
    if not hasattr(frame, "mapInArrow"):
        raise UsageError(
            f"a {type(frame).__module__}.{type(frame).__qualname__} came; driftline.spark takes a DataFrame of Spark, "
            "and driftline.check takes other frames"
        )
    if not hasattr(frame.groupBy(), "applyInArrow"):
        raise UsageError("this Spark has no applyInArrow; driftline.spark needs Spark 4.0 or newer")
    if frame.isStreaming:
        raise UsageError("a stream came, which has no end; profile each of its batches, with writeStream.foreachBatch")
    if holds_profiles(frame.columns):
        raise UsageError("a table of profiles came, or has files among those that came; give rows: it is made already")
    repeated = sorted({name for name in frame.columns if frame.columns.count(name) > 1}.intersection(layout.reads))
    if repeated:
        raise UsageError(f"the column {repeated[0]!r} comes more than once; give each a name of its own")
    return columns_read(layout, frame.columns)
