"""A table of profiles comes from anywhere: each of its rows is what it says, or it is refused in words."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.engines.stored import open_profiles, stored_frame
from driftline.errors import DataError
from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles import Columns, WindowProfile
from driftline.profiles.layout import Layout
from driftline.profiles.table import SCHEMA, ProfileTable, _checksum, as_frame, from_frame, profile_batches
from driftline.sketches import Grid, decode, encode
from driftline.sources.profiled import LAYOUT as LAYOUT_BYTES
from driftline.sources.profiled import MODEL, RELEASE, TELLING

DAY = datetime(2026, 1, 1, tzinfo=UTC)
LAYOUT = Layout(
    Columns(time="at", version="v", label="y", prediction="p", segments=("k",)),
    Schema(Task.REGRESSION, {"x": Kind.NUMERIC, "k": Kind.CATEGORICAL}, segments={"k": ("a",)}),
    {"feature.x": Grid(1.0, 2.0), "label": Grid(), "prediction": Grid()},
    {},
    WindowSpec("1d"),
)
ROWS = pl.DataFrame(
    {
        "at": [DAY, DAY + timedelta(hours=1), DAY + timedelta(days=1), None],
        "v": ["2", None, "1", "1"],
        "x": [1.0, 2.0, None, 4.0],
        "k": ["a", "b", None, "a"],
        "p": [1.0, 2.0, 3.0, 4.0],
        "y": [1.5, None, 3.0, None],
    }
)
TABLE = profile_batches([ROWS], LAYOUT)
FRAME = as_frame(TABLE, LAYOUT)


def test_every_row_of_the_rows_is_in_one_row_of_the_table() -> None:
    told = FRAME.select("start", "version", "predictions", "labelled").rows()
    assert told == [(None, "1", 1, 0), (DAY, "", 1, 0), (DAY, "2", 1, 1), (DAY + timedelta(days=1), "1", 1, 1)]
    assert (TABLE.predictions, TABLE.labelled) == (4, 2)
    assert dict(FRAME.schema) == dict(SCHEMA)
    segments = {part.segments.columns["k"][name].predictions for part in TABLE.parts.values() for name in ("a",)
                if name in part.segments.columns["k"]}  # fmt: skip
    assert segments == {1}


def test_a_table_goes_through_its_frame_and_tables_of_parts_of_the_rows_merge() -> None:
    assert from_frame(FRAME, LAYOUT) == TABLE
    halves = [as_frame(profile_batches([part], LAYOUT), LAYOUT) for part in (ROWS[::2], ROWS[1::2], ROWS[:0])]
    assert as_frame(from_frame(pl.concat(halves), LAYOUT), LAYOUT).equals(FRAME)
    assert ProfileTable().merge(TABLE) == TABLE == TABLE.merge(ProfileTable())
    assert as_frame(ProfileTable(), LAYOUT).height == 0


def test_without_windows_all_rows_of_a_version_are_one_profile() -> None:
    layout = replace(LAYOUT, windows=None, columns=replace(LAYOUT.columns, time=None, version=None))
    (key,), (part,) = zip(*profile_batches([ROWS[:2], ROWS[2:]], layout).parts.items(), strict=True)
    assert key == (None, "")
    assert part.whole.predictions == 4


def test_columns_that_nobody_asked_for_are_not_read() -> None:
    odd = ROWS.with_columns(pl.Series("other", [object()] * 4, dtype=pl.Object))
    assert as_frame(profile_batches([odd], LAYOUT), LAYOUT).equals(FRAME)


def changed(**values: Any) -> pl.DataFrame:
    return FRAME.with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(value, SCHEMA[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


PROFILE = FRAME["profile"][1]
OTHER = as_frame(profile_batches([ROWS], replace(LAYOUT, grids={**LAYOUT.grids, "feature.x": Grid(9.0, 1.0)})), LAYOUT)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (FRAME.drop("segments"), "the table has no column 'segments'; `driftline profile` writes start, end"),
        (
            FRAME.with_columns(predictions=pl.lit("many")),
            "has predictions of the type String; `driftline profile`",
        ),
        (changed(layout="other"), "has the layout other; this one is"),
        (changed(profile=None), "lacks its version, its profile or an end of its window"),
        (changed(version=None), "lacks its version, its profile or an end of its window"),
        (changed(end=None), "lacks its version, its profile or an end of its window"),
        (changed(end=DAY), "is no window of its layout"),
        (changed(start=DAY + timedelta(hours=1)), "is no window of its layout"),
        (changed(predictions=2), "says that it has 2 predictions, 0 of them labelled, and its profile has 1 and 0"),
        (changed(labelled=1), "says that it has 1 predictions, 1 of them labelled, and its profile has 1 and 0"),
        (changed(profile=PROFILE[:-1]), "is damaged, or of a newer release"),
        (changed(profile=b"no"), "is damaged, or of a newer release: these bytes are not an encoded state"),
        (changed(profile=b"DLS\x02" + PROFILE[4:]), "reads version 1; upgrade driftline"),
        (changed(segments=b"no"), "is damaged, or of a newer release"),
        (changed(profile=OTHER["profile"][1]), "counts x on another grid than its layout"),
        (pl.concat([FRAME, OTHER]), "counts x on another grid than its layout"),
    ],
)
def test_what_is_no_table_or_damaged_is_refused_in_words(frame: pl.DataFrame, words: str) -> None:
    with pytest.raises(DataError) as refused:
        from_frame(frame, LAYOUT, "the table")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.integers(0, len(PROFILE) - 1), st.binary(min_size=1, max_size=9))
def test_bytes_that_were_changed_never_do_more_than_refuse(at: int, noise: bytes) -> None:
    try:
        found = from_frame(changed(profile=PROFILE[:at] + noise + PROFILE[at + len(noise) :]), LAYOUT)
    except DataError:
        return
    assert found.predictions == TABLE.predictions


@given(st.sampled_from(["profile", "segments"]), st.integers(0, 8 * len(PROFILE) - 1))
def test_a_bit_that_was_flipped_is_refused(name: str, bit: int) -> None:
    stored = bytearray(FRAME[name][1])
    place, which = divmod(bit % (8 * len(stored)), 8)
    stored[place] ^= 1 << which
    with pytest.raises(DataError, match="is damaged"):
        from_frame(changed(**{name: bytes(stored)}), LAYOUT)


@pytest.mark.parametrize(
    "values",
    [
        {"version": "3"},
        {"start": DAY + timedelta(days=4), "end": DAY + timedelta(days=5)},
        {"segments": None},
        {"checksum": "0" * 32},
    ],
    ids=str,
)
def test_a_key_that_was_changed_is_refused_too(values: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"is damaged: its checksum is that of other values; profile the rows again"):
        from_frame(changed(**values), LAYOUT)


def test_tables_that_have_no_checksum_are_read_also_beside_others() -> None:
    older = FRAME.drop("checksum")
    assert from_frame(older, LAYOUT) == TABLE
    both = pl.concat([FRAME[:2], older[2:]], how="diagonal")
    assert from_frame(both, LAYOUT) == TABLE
    elsewhere = FRAME.with_columns(pl.col("start", "end").dt.convert_time_zone("Asia/Tokyo"))
    assert from_frame(elsewhere, LAYOUT) == TABLE


@pytest.mark.parametrize(
    ("name", "other"), [("checksum", pl.lit(1).implode()), ("layout_bytes", pl.lit(1)), ("start", pl.lit(b"1"))]
)
def test_tables_with_columns_of_other_types_are_refused_alone_and_beside_others(
    tmp_path: Path, name: str, other: pl.Expr
) -> None:
    frame = stored_frame(TABLE, LAYOUT, "m", "1")
    for at, some in enumerate((frame, frame.with_columns(other.alias(name)), frame)):
        some.write_parquet(tmp_path / f"{at}.parquet")
    for given_path in (tmp_path / "1.parquet", tmp_path):
        with pytest.raises(DataError, match=str(tmp_path)):
            open_profiles(given_path)


def test_a_checksum_is_the_same_in_every_release_of_python() -> None:
    r"""One that does not know the sign U+1FAE8 yet writes it as \U0001fae8 in its `repr`."""
    row = (DAY, DAY + timedelta(days=1), "\U0001fae8", 2, 1, b"p", None, "layout")
    assert _checksum(row) == "c81e550760166c5a17efd73dc418a226"


def test_profiles_say_what_they_did_when_they_were_encoded_apart() -> None:
    (_, part), *_ = TABLE.parts.items()
    assert decode(encode(part.whole), WindowProfile) == part.whole


def test_rows_and_tables_are_told_apart_by_names_that_the_table_has() -> None:
    assert {*SCHEMA, MODEL, RELEASE, LAYOUT_BYTES} - TELLING == {"checksum"}  # which tables of older releases lack


def test_the_map_needs_neither_arrow_nor_files_when_it_is_imported() -> None:
    code = (
        "import sys; import driftline.profiles.table; "
        "print([one for one in ('pyarrow', 'pyspark', 'deltalake', 'sqlalchemy', 'driftline.store') "
        "if one in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
