"""Rows that engines profile, and their layout: kinds of all sorts, hostile values, skewed windows, late columns."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from driftline.events import Kind, Schema, Task, WindowSpec
from driftline.profiles.columns import Columns
from driftline.profiles.frame import canonical
from driftline.profiles.layout import Layout
from driftline.profiles.reference import layout_of

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 4
COLUMNS = Columns(
    time="at",
    version="model version",  # Spark quotes what has blanks, dots and backquotes in it
    prediction="said",
    score="p",
    label="was",
    cluster="shop",
)
SCHEMA = Schema(
    Task.BINARY,
    {
        "amount.eur": Kind.NUMERIC,
        "amount": Kind.NUMERIC,
        "`kind`": Kind.CATEGORICAL,
        "since": Kind.DATETIME,
        "note": Kind.TEXT,
        "vector": Kind.EMBEDDING,
        "late": Kind.NUMERIC,
        "season": Kind.CATEGORICAL,
        "shop": Kind.CATEGORICAL,
    },
    classes=("0", "1"),
    positive="1",
    cluster="shop",
    segments={"season": ("summer", "winter")},
)


def rows_of(count: int, seed: int = 1, *, late: bool = True) -> pl.DataFrame:
    """Rows of four days, nine of ten on one of them, of three versions; some of their values are hostile or lacking.

    Without ``late`` the column of this name is not there.
    """
    rng = np.random.default_rng(seed)
    day = np.where(rng.random(count) < 0.9, 2, rng.integers(0, DAYS, count))
    moment = day * 86_400_000_000 + rng.integers(0, 86_400_000_000, count)
    at = pl.Series([START]).dt.cast_time_unit("us").new_from_index(0, count) + pl.Series(moment).cast(pl.Duration("us"))
    amount = rng.lognormal(3, 1, count)
    amount[::97] = np.nan
    amount[1::199] = np.inf
    amount[2::401] = -1e300
    score = np.round(rng.random(count), 4)
    said = (score > 0.5).astype(np.int64)
    was = np.where(rng.random(count) < 0.8, said, 1 - said)
    names = np.array(["winter", "summer", "autumn", "", "ärger", "NA", "o'clock"])
    frame = pl.DataFrame(
        {
            "at": at.set(pl.Series(rng.random(count) < 0.01), None),
            "model version": rng.choice(["v1", "v2", "v.3"], count),
            "said": said,
            "p": score,
            "was": pl.Series(was).set(pl.Series(rng.random(count) < 0.3), None),
            "amount.eur": amount,
            "amount": rng.integers(-5, 300, count),
            "`kind`": rng.choice(names, count),
            "since": (at - pl.Series(rng.integers(0, 10**13, count)).cast(pl.Duration("us"))).dt.replace_time_zone(
                None
            ),
            "note": rng.choice(np.array(["late again", "fine", "why?  Said twice. ", ""]), count),
            "vector": pl.Series(np.round(rng.normal(size=(count, 3)), 3).tolist(), dtype=pl.List(pl.Float64)),
            "late": rng.normal(100, 5, count),
            "season": rng.choice(names, count),
            "shop": rng.integers(1, 40, count),
            "unread": rng.random(count),
        }
    )
    return frame if late else frame.drop("late")


def layout() -> Layout:
    """The layout that a reference of such rows decides."""
    known = canonical(rows_of(2_000, 0), COLUMNS, SCHEMA)
    return Layout(COLUMNS, SCHEMA, *layout_of(known, SCHEMA), WindowSpec("1d", "Europe/Berlin"))


def write_parts(folder: Path, parts: int = 6, rows: int = 100) -> list[pl.DataFrame]:
    """Parquet files of uneven size, one of them empty; the first ones lack a column. Returns their rows."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = [rows_of(0 if part == 2 else rows * (part + 1) // 2, part + 1, late=part > 3) for part in range(parts)]
    for part, frame in enumerate(frames):
        frame.write_parquet(folder / f"part-{part:03}.parquet")
    return frames
