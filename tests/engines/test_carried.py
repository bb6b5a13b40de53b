"""What engines do with rows and profiles, called as they call it: no engine is needed, and none is installed here."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline import dask, ray, spark
from driftline.errors import DataError, UnknownNameError, UsageError
from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles import carried
from driftline.profiles.carried import (
    KEYS,
    as_carried,
    carried_layout,
    columns_read,
    merge_group,
    profile_partition,
    profile_parts,
    told_apart,
)
from driftline.profiles.columns import Columns
from driftline.profiles.layout import Layout
from driftline.profiles.table import SCHEMA, ProfileTable, as_batch, as_frame, from_batch, profile_batches
from driftline.sketches import Grid
from tests.engines.workload import START, layout, rows_of

SMALL = Layout(
    Columns(time="at", version="version", label="was", prediction="said"),
    Schema(
        Task.BINARY,
        {"x": Kind.NUMERIC, "k": Kind.CATEGORICAL},
        ("0", "1"),
        "1",
        segments={"k": ("a",)},
    ),
    {"feature.x": Grid(1.0, 2.0)},
    {},
    WindowSpec("1d", "Europe/Berlin"),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.none() | st.integers(-3, 3).map(lambda hours: START + timedelta(hours=12 * hours)),
            "version": st.sampled_from(["v1", "v2", None]),
            "x": st.none() | st.floats(width=32),
            "k": st.sampled_from(["a", "b", "", None]),
            "said": st.sampled_from([0, 1, None]),
            "was": st.sampled_from([0, 1, None]),
        }
    ),
    max_size=12,
)
TYPES = {
    "at": pl.Datetime("us", "UTC"),
    "version": pl.String(),
    "x": pl.Float64(),
    "k": pl.String(),
    "said": pl.Int64(),
    "was": pl.Int64(),
}


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TYPES)


def batches_of(frame: pl.DataFrame, size: int) -> Iterator[pa.RecordBatch]:
    """As an engine hands them over: numbered columns, some batches empty."""
    table = frame.rename({name: f"c{place}" for place, name in enumerate(frame.columns)}).to_arrow()
    yield from table.slice(0, 0).to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    yield from table.to_batches(max_chunksize=size)


def merged(parts: list[pa.RecordBatch], layout: Layout) -> pl.DataFrame:
    return as_frame(from_batch(merge_group(pa.Table.from_batches(parts), as_carried(layout)), layout), layout)


# ---- the law ---------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(ROWS, st.integers(1, 4), st.integers(1, 9), st.sets(st.sampled_from(KEYS)), st.randoms(use_true_random=False))
def test_partitions_and_merges_of_any_kind_give_the_bytes_of_one_pass(
    rows: list[dict[str, Any]], partitions: int, size: int, by: set[str], chance: random.Random
) -> None:
    layout = told_apart(SMALL, by)
    frame = frame_of(rows)
    where = [chance.randrange(partitions) for _ in rows]
    parts: list[pa.RecordBatch] = []
    for place in range(partitions):
        own = frame.filter(pl.Series([one == place for one in where], dtype=pl.Boolean)).sample(
            fraction=1, shuffle=True, seed=chance.randrange(100)
        )
        parts += profile_partition(batches_of(own, size), frame.columns, as_carried(layout))
    chance.shuffle(parts)
    nothing = as_batch(ProfileTable(), layout)
    some = chance.randrange(len(parts) + 1)
    first = merge_group(pa.Table.from_batches([nothing, *parts[:some]]), as_carried(layout)).to_batches()
    whole = as_frame(profile_batches([frame], layout), layout)
    assert merged([nothing, *first, *parts[some:]], layout).equals(whole)
    assert whole["predictions"].sum() == len(rows)


def test_hostile_values_of_every_kind_give_equal_bytes_in_any_split() -> None:
    wide, frame = told_apart(layout(), ["version", "segment"]), rows_of(200)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    parts = [
        part
        for piece in (shuffled.head(70), shuffled.slice(70, 1), shuffled.slice(71))
        for part in profile_partition(batches_of(piece, 100), frame.columns, as_carried(wide))
    ]
    whole = profile_batches([frame], wide)
    assert merged(parts, wide).equals(as_frame(whole, wide))
    assert whole.predictions == 200 and len(whole.parts) == 3


def test_a_column_that_some_partitions_lack_is_missing_there() -> None:
    early, late = rows_of(60, 1, late=False), rows_of(60, 2)
    wide = told_apart(layout(), [])
    parts = [
        part
        for piece in (early, late)
        for part in profile_partition(batches_of(piece, 50), piece.columns, as_carried(wide))
    ]
    nothing = pl.lit(None, pl.Float64).alias("late")
    together = pl.concat([early.with_columns(nothing).select(late.columns), late])
    assert merged(parts, wide).equals(as_frame(profile_batches([together], wide), wide))


# ---- what rows are told apart by -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "windows", "versions", "segments"),
    [
        (KEYS, 4, 3, True),
        (["window"], 4, 1, False),
        (["version"], 1, 3, False),
        (["segment"], 1, 1, True),
        ("segment", 1, 1, True),
        ([], 1, 1, False),
        (["window", "segment", "window"], 4, 1, True),
    ],
)
def test_rows_are_told_apart_by_what_is_asked_for(by: Any, windows: int, versions: int, segments: bool) -> None:
    wide = told_apart(SMALL, by)
    rows = [
        {"at": START + timedelta(days=day), "version": version, "x": 1.0, "k": "a", "said": 1, "was": 1}
        for day in range(4)
        for version in ("v1", "v2", None)
    ]
    table = profile_batches([frame_of(rows)], wide)
    assert len({key.window for key in table.parts}) == windows
    assert len({key.version for key in table.parts}) == versions
    assert all(bool(part.segments.columns) == segments for part in table.parts.values())
    assert table.predictions == table.labelled == 12


def test_telling_apart_twice_is_telling_apart_by_what_both_say() -> None:
    for by in (KEYS, ["window"], []):
        once = told_apart(SMALL, by)
        assert told_apart(once) == once and told_apart(once).digest == once.digest
    assert told_apart(SMALL) == SMALL
    assert len({told_apart(SMALL, by).digest for by in (KEYS, ["segment"], ["window"], [])}) == 4


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown key 'windows'; known: segment, version, window.*'window'"):
        told_apart(SMALL, ["windows"])


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_only_columns_that_have_a_role_are_read_in_the_order_of_the_layout() -> None:
    assert columns_read(SMALL, ["unread", "said", "k", "at"]) == ("k", "at", "said")


def test_a_frame_with_nothing_to_read_names_what_came_and_what_is_read() -> None:
    with pytest.raises(UsageError, match=r"the frame has the columns a, b, and none of those that .* reads: x, k, at"):
        columns_read(SMALL, ["b", "a"])


def test_windows_need_their_column_of_times_and_no_windows_do_not() -> None:
    with pytest.raises(UsageError, match=r"has no column 'at'.*it has At, x\. .*leave 'window' out"):
        columns_read(SMALL, ["x", "At"])
    assert columns_read(told_apart(SMALL, ["segment"]), ["x", "At"]) == ("x",)


def test_columns_that_are_stored_hashed_stay_where_the_key_is() -> None:
    with pytest.raises(UsageError, match=r"keyed hashes \(k\).*do not have the key.*--engine local"):
        columns_read(replace(SMALL, hashed=("k",)), ["k", "at"])


# ---- in bounded memory -----------------------------------------------------------------------------------------------


def test_small_batches_are_profiled_together(monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[int] = []
    own = carried.profile_batch

    def counted(frame: pl.DataFrame, layout: Layout) -> ProfileTable:
        heights.append(frame.height)
        return own(frame, layout)

    monkeypatch.setattr(carried, "profile_batch", counted)
    frame = frame_of([{"at": START, "version": "v1", "x": 1.0, "k": "a", "said": 1, "was": 1}] * 10)
    assert len(list(profile_parts([frame] * 50, SMALL))) == 1
    assert heights == [500]
    heights.clear()
    monkeypatch.setattr(carried, "_CELLS", 120)  # two of the frames
    list(profile_parts(iter([frame] * 5), SMALL))
    assert heights == [20, 20, 10]


def test_many_windows_go_out_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "_HELD", 2 * len(SMALL.reads))
    monkeypatch.setattr(carried, "_CELLS", 1)
    frames = [
        frame_of([{"at": START + timedelta(days=day), "version": "", "x": 1.0, "k": "a", "said": 1, "was": 0}])
        for day in [*range(4)] * 3
    ]
    parts = list(profile_parts(frames, SMALL))
    assert [len(part.parts) for part in parts] == [3, 3, 3, 3]
    whole = as_frame(profile_batches(frames, SMALL), SMALL)
    assert merged([as_batch(part, SMALL) for part in parts], SMALL).equals(whole)


def test_a_layout_is_read_once_by_a_process_that_takes_many_parts() -> None:
    carried_layout.cache_clear()
    rows = frame_of([{"at": START, "version": "v1", "x": 1.0, "k": "a", "said": 1, "was": 1}])
    for _ in range(3):
        list(profile_partition(batches_of(rows, 5), rows.columns, as_carried(SMALL)))
    assert carried_layout.cache_info().misses == 1


# ---- as Spark calls it -----------------------------------------------------------------------------------------------


def test_no_batches_and_empty_ones_give_nothing() -> None:
    nothing = frame_of([])
    assert list(profile_partition(iter([]), nothing.columns, as_carried(SMALL))) == []
    assert list(profile_partition(batches_of(nothing, 5), nothing.columns, as_carried(SMALL))) == []


def test_the_columns_are_those_that_spark_is_told() -> None:
    told = [one.strip().rpartition(" ")[0].strip("`") for one in spark.TYPES.split(",")]
    assert told == list(SCHEMA)
    arrow = {"timestamp": pa.timestamp("us", "UTC"), "string": pa.string(), "bigint": pa.int64(), "binary": pa.binary()}
    types = [arrow[one.strip().rpartition(" ")[2]] for one in spark.TYPES.split(",")]
    assert as_batch(ProfileTable(), SMALL).schema.types == types


def test_times_come_back_in_utc_from_any_zone_of_a_session() -> None:
    rows = frame_of([{"at": START, "version": "v1", "x": 1.0, "k": "a", "said": 1, "was": 1}])
    [part] = profile_partition(batches_of(rows, 5), rows.columns, as_carried(SMALL))
    zone = pa.timestamp("us", "America/Los_Angeles")
    table = pa.Table.from_batches([part])
    elsewhere = table.cast(
        pa.schema([(one.name, zone if pa.types.is_timestamp(one.type) else one.type) for one in table.schema])
    )
    assert merge_group(elsewhere, as_carried(SMALL)).equals(table)
    twice = merge_group(pa.concat_tables([elsewhere, elsewhere]), as_carried(SMALL))
    assert twice.schema == table.schema and twice["start"].equals(table["start"])


def test_profiles_of_another_layout_are_not_merged() -> None:
    rows = frame_of([{"at": START, "version": "v1", "x": 1.0, "k": "a", "said": 1, "was": 1}])
    parts = [
        part
        for layout in (SMALL, told_apart(SMALL, ["window"]))
        for part in profile_partition(batches_of(rows, 5), rows.columns, as_carried(layout))
    ]
    with pytest.raises(DataError, match="has the layout"):
        merge_group(pa.Table.from_batches(parts), as_carried(SMALL))


WORKER = """
import io, pickle, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "pandas", "dask", "ray"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
import pyarrow as pa
work, merge = pickle.loads(sys.stdin.buffer.read(int(sys.argv[1])))
batches = pa.ipc.open_stream(io.BytesIO(sys.stdin.buffer.read()))
parts = pa.Table.from_batches([part for _ in range(2) for part in work(batches)])
with pa.ipc.new_stream(sys.stdout.buffer, parts.schema) as stream:
    stream.write_table(merge(parts))
"""


def test_an_executor_needs_this_package_and_nothing_of_spark_or_pandas() -> None:
    """The functions travel as Spark has them travel, into a process in which neither can be imported."""
    rows = frame_of([{"at": START, "version": "v1", "x": 1.0, "k": "a", "said": 1, "was": 1}] * 3)
    names, layout = rows.columns, as_carried(SMALL)
    work = cloudpickle.dumps(
        (lambda batches: profile_partition(batches, names, layout), lambda some: merge_group(some, layout))
    )
    given = io.BytesIO()
    table = rows.to_arrow()
    with pa.ipc.new_stream(given, table.schema) as stream:
        stream.write_table(table)
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(len(work))], input=work + given.getvalue(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    answer = from_batch(pa.ipc.open_stream(done.stdout).read_all(), SMALL)
    assert as_frame(answer, SMALL).equals(as_frame(profile_batches([rows], SMALL), SMALL))


# ---- without the libraries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "library"), [(spark, "pyspark"), (dask, "dask"), (ray, "ray")])
def test_without_its_library_one_line_says_what_to_install(
    module: ModuleType, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in (library, *[one for one in sys.modules if one.startswith(f"{library}.")]):
        monkeypatch.setitem(sys.modules, known, None)
    name = module.__name__.rpartition(".")[2]
    with pytest.raises(UsageError, match=rf"^driftline\.{name} needs .* pip install 'driftline\[{name}\]'$"):
        module.profile([], SMALL)


@pytest.mark.parametrize(
    ("paths", "message"),
    [([], "no path came"), (["a.parquet", "b.CSV"], r"b\.CSV came.*reads Parquet and Delta.*--engine local")],
)
def test_paths_that_spark_does_not_read_here_are_refused_in_words(paths: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        spark.profile_files(paths, SMALL)


def test_a_table_of_delta_is_told_by_its_log(tmp_path: Path) -> None:
    (tmp_path / "table" / "_delta_log").mkdir(parents=True)
    assert spark._format_of([str(tmp_path / "table")]) == "delta"
    assert spark._format_of([str(tmp_path / "table"), "s3a://bucket/rows.parquet"]) == "parquet"
