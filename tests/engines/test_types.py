"""Files of one history differ in what they are written with; what is profiled of them does not.

Each part of the rows goes through Arrow into the map that executors run, its columns in types of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.engines.stored import open_profiles, stored_frame
from driftline.errors import DriftlineError
from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles.carried import as_carried, columns_read, merge_group, profile_partition
from driftline.profiles.columns import Columns
from driftline.profiles.frame import canonical
from driftline.profiles.layout import Layout, readings_of
from driftline.profiles.reference import layout_of
from driftline.profiles.table import ProfileTable, as_batch, as_frame, from_batch, profile_batch
from driftline.sources.files import open_rows
from driftline.sources.frames import frame_of_table

START = datetime(2026, 3, 28, 20, tzinfo=UTC)  # the hours around Berlin's change of clocks
NUMBER, CODE, VECTOR, NOTE, DAY = "a.b`c", "", "[vector]", "note\n'); --", "Straße"
"""Names as files have them, one of them empty."""

SCHEMA = Schema(
    Task.BINARY,
    {
        NUMBER: Kind.NUMERIC,
        CODE: Kind.CATEGORICAL,
        VECTOR: Kind.EMBEDDING,
        NOTE: Kind.TEXT,
        DAY: Kind.DATETIME,
        "nothing": Kind.NUMERIC,
        "late": Kind.NUMERIC,
    },
    ("0", "1"),
    "1",
)
COLUMNS = Columns(time="at", prediction="said", label="was")


def own_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows in the types of the reference."""
    types = {"at": pl.Datetime("us", "UTC"), NUMBER: pl.Float64(), CODE: pl.Int64(), VECTOR: pl.List(pl.Float64())}
    types |= {NOTE: pl.String(), DAY: pl.Datetime("us"), "late": pl.Float64(), "said": pl.Int64(), "was": pl.Int64()}
    return pl.DataFrame(rows, schema=types).with_columns(nothing=pl.lit(None, pl.Float64))


def reference() -> pl.DataFrame:
    return own_frame(
        [
            {"at": START + timedelta(hours=one), NUMBER: one / 2, CODE: one % 3, VECTOR: [float(one), 1.0, -float(one)]}
            | {NOTE: f"said {one} times", DAY: datetime(2026, 1, 1 + one), "late": 2.0, "said": one % 2, "was": one % 2}
            for one in range(20)
        ]
    )


LAYOUT = Layout(
    COLUMNS,
    SCHEMA,
    *layout_of(canonical(reference(), COLUMNS, SCHEMA), SCHEMA),
    WindowSpec("1d", "Europe/Berlin"),
    readings_of([reference()], COLUMNS, SCHEMA),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.none() | st.integers(-9, 40).map(lambda hours: START + timedelta(hours=hours)),
            NUMBER: st.none() | st.integers(-9, 99).map(lambda whole: whole / 4),
            CODE: st.none() | st.integers(0, 4),
            VECTOR: st.none() | st.lists(st.integers(-4, 4).map(float), min_size=3, max_size=3),
            NOTE: st.sampled_from([None, "", "fine", "NA", "why?  Said twice. "]),
            DAY: st.none() | st.integers(0, 90).map(lambda day: datetime(2026, 1, 1) + timedelta(days=day)),
            "late": st.none() | st.floats(width=32),
            "said": st.sampled_from([0, 1, None]),
            "was": st.sampled_from([0, 1, None]),
        }
    ),
    min_size=1,
    max_size=9,
)


def texts(name: str, format: str) -> pl.Expr:
    return pl.col(name).dt.strftime(format)


WAYS: Mapping[str, Sequence[Callable[[], pl.Expr]]] = {
    "at": [
        lambda: pl.col("at"),
        lambda: pl.col("at").dt.cast_time_unit("ns"),
        lambda: pl.col("at").dt.cast_time_unit("ms"),
        lambda: pl.col("at").dt.replace_time_zone(None),
        lambda: pl.col("at").dt.convert_time_zone("America/Los_Angeles"),
        lambda: texts("at", "%Y-%m-%dT%H:%M:%SZ"),
        lambda: texts("at", "%Y-%m-%d %H:%M:%S"),
    ],
    NUMBER: [
        lambda: pl.col(NUMBER),
        lambda: pl.col(NUMBER).cast(pl.Float32),
        lambda: pl.col(NUMBER).cast(pl.Decimal(12, 3)),
        lambda: pl.col(NUMBER).cast(pl.String),
    ],
    CODE: [
        lambda: pl.col(CODE),
        lambda: pl.col(CODE).cast(pl.Int8),
        lambda: pl.col(CODE).cast(pl.UInt32),
        lambda: pl.col(CODE).cast(pl.Float64),
        lambda: pl.col(CODE).cast(pl.Decimal(9, 2)),
        lambda: pl.col(CODE).cast(pl.String),
        lambda: pl.col(CODE).cast(pl.String).cast(pl.Categorical),
    ],
    VECTOR: [
        lambda: pl.col(VECTOR),
        lambda: pl.col(VECTOR).cast(pl.List(pl.Float32)),
        lambda: pl.col(VECTOR).cast(pl.List(pl.Int16)),
        lambda: pl.col(VECTOR).cast(pl.Array(pl.Float64, 3)),
    ],
    NOTE: [lambda: pl.col(NOTE), lambda: pl.col(NOTE).cast(pl.Categorical)],
    DAY: [
        lambda: pl.col(DAY),
        lambda: pl.col(DAY).cast(pl.Date),
        lambda: pl.col(DAY).dt.cast_time_unit("ns"),
        lambda: pl.col(DAY).dt.replace_time_zone("UTC"),
        lambda: texts(DAY, "%Y-%m-%d"),
    ],
    "nothing": [
        lambda: pl.lit(None).alias("nothing"),
        lambda: pl.lit("NA").alias("nothing"),
        lambda: pl.lit(None, pl.Boolean).alias("nothing"),
        lambda: pl.lit(None, pl.Struct({"x": pl.Int8})).alias("nothing"),
    ],
    "said": [lambda: pl.col("said"), lambda: pl.col("said").cast(pl.String), lambda: pl.col("said").cast(pl.Float32)],
    "was": [lambda: pl.col("was"), lambda: pl.col("was").cast(pl.Int8), lambda: pl.col("was").cast(pl.Decimal(3, 1))],
}
CHOSEN = st.fixed_dictionaries({name: st.sampled_from(ways) for name, ways in WAYS.items()})


def as_written(frame: pl.DataFrame, chosen: Mapping[str, Callable[[], pl.Expr]], *, late: bool) -> pl.DataFrame:
    """The rows as some file has them: types of its own, a nested column that nobody reads, maybe without a late one."""
    written = frame.with_columns(way() for way in chosen.values())
    written = written.with_columns(nested=pl.struct(pl.col("was").alias("a"), pl.lit([1, 2]).alias("b")))
    return written if late else written.drop("late")


def test_rows_out_of_the_middle_keep_their_vectors() -> None:
    """Vectors of one length, some of them null: what Polars takes of such a batch was wrong, or a panic."""
    vectors = pl.Series("v", [[1.0, 2.0], None, [3.0, 4.0], None, [5.0, 6.0]], dtype=pl.Array(pl.Float64, 2))
    table = pl.DataFrame([vectors]).to_arrow()
    for begin in range(5):
        for length in range(1, 6 - begin):
            some = table.slice(begin, length)
            for rows in (some, some.to_batches()[0]):
                assert frame_of_table(rows)["v"].to_list() == vectors[begin : begin + length].to_list()


def mapped(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """What executors make of files: columns by number, and only those that are read."""
    carried, parts = as_carried(LAYOUT), [as_batch(ProfileTable(), LAYOUT)]
    for frame in frames:
        names = columns_read(LAYOUT, frame.columns)
        table = frame.select(names).to_arrow().rename_columns([f"c{place}" for place in range(len(names))])
        parts += profile_partition(table.to_batches(max_chunksize=4), names, carried)
    return as_frame(from_batch(merge_group(pa.Table.from_batches(parts), carried), LAYOUT), LAYOUT)


@settings(max_examples=6)
@given(st.lists(st.tuples(ROWS, CHOSEN, st.booleans()), min_size=1, max_size=3))
def test_the_types_of_files_change_no_byte(files: list[tuple[list[dict[str, Any]], Any, bool]]) -> None:
    own = [[row if late else row | {"late": None} for row in rows] for rows, _, late in files]
    whole = profile_batch(own_frame([row for rows in own for row in rows]), LAYOUT)
    written = [as_written(own_frame(rows), chosen, late=late) for rows, chosen, late in files]
    assert mapped(written).equals(as_frame(whole, LAYOUT))
    assert whole.predictions == sum(len(rows) for rows, _, _ in files)


@pytest.mark.parametrize("name", list(WAYS))
def test_each_way_to_write_a_column_is_the_same_as_the_first(name: str) -> None:
    rows = reference()
    first = mapped([rows])
    assert first["predictions"].sum() == rows.height
    for way in WAYS[name]:
        assert mapped([rows.with_columns(way())]).equals(first)


STORED = stored_frame(profile_batch(reference(), LAYOUT), LAYOUT, "m", "1")


@settings(max_examples=40)
@given(data=st.data())
def test_a_stored_file_that_was_cut_or_changed_is_refused_or_tells_the_truth(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whichever bit of the file: no other number is ever read, and nothing but an error of ours is raised."""
    path = tmp_path_factory.getbasetemp() / "stored.parquet"
    STORED.write_parquet(path, compression=data.draw(st.sampled_from(["zstd", "uncompressed"])))
    whole = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del whole[place:]
    path.write_bytes(whole)
    try:
        found = open_profiles(path)
    except DriftlineError:
        return
    assert as_frame(found.table, found.layout).equals(as_frame(profile_batch(reference(), LAYOUT), LAYOUT))


def test_a_file_of_rows_that_was_cut_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    reference().write_parquet(path)
    whole = path.read_bytes()
    for size in (0, 3, 8, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DriftlineError, match=r"rows\.parquet (cannot be read|is empty)"):
            list(open_rows(path).batches(["at"]))
