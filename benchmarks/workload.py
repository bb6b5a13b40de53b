"""The rows that are measured on: seeded, of mixed kinds, written to Parquet in batches.

Of five columns four are numbers (normal, log-normal, exponential, whole numbers, in turn) and the fifth is a text of
10 to 50 categories with Zipf-like shares. Every eighth column, where it is one of numbers, lacks 2 % of its
values. In the current file the first number column has moved by half a standard deviation, and the shares of the
first text column are turned round.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

DAYS = 30
FIRST_DAY = np.datetime64("2024-01-01", "us")
TARGETS = ("time", "score", "prediction", "label")
DRIFTED = (0, 4)
"""The columns, by place, that differ in the current file."""

_NUMBERS = ("normal", "lognormal", "exponential", "integer")
_CATEGORIES = (10, 20, 30, 40, 50)
_MISSING = 0.02
_SHIFT = 0.5
_ZIPF = 1.1
_BATCH_CELLS, _BATCH_ROWS = 16_000_000, 262_144

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Workload:
    """What a file holds: ``rows`` × ``columns`` features, and with ``labels`` the columns `TARGETS` as well.

    The same values give the same file. ``current`` is the side that has drifted. Zero rows or columns are allowed.
    """

    rows: int
    columns: int
    current: bool = False
    labels: bool = False
    seed: int = 20240101

    @property
    def names(self) -> list[str]:
        """The names of the features: kind and place."""
        return [f"{kind_at(place)}_{place:04}" for place in range(self.columns)]

    @property
    def batch_rows(self) -> int:
        """How many rows are in memory at a time: no more than 128 MB of numbers."""
        return max(min(_BATCH_ROWS, _BATCH_CELLS // max(self.columns, 1)), 1)


def kind_at(place: int) -> str:
    """The kind of the feature at a place, from 0."""
    return "category" if place % 5 == 4 else _NUMBERS[(place - place // 5) % 4]


def zipf_shares(categories: int) -> _Floats:
    """Shares of categories, shape (categories,), falling as rank^-1.1, that sum to 1."""
    weights: _Floats = np.arange(1, categories + 1, dtype=np.float64) ** -_ZIPF
    shares: _Floats = weights / weights.sum()
    return shares


def batches(workload: Workload) -> Iterator[pl.DataFrame]:
    """The rows, in order, in frames of `Workload.batch_rows`; no rows give one empty frame."""
    for number, start in enumerate(range(0, max(workload.rows, 1), workload.batch_rows)):
        count = min(workload.batch_rows, workload.rows - start)
        rng = np.random.default_rng([workload.seed, workload.current, number])
        columns = {
            name: _feature(place, count, rng, drifted=workload.current and place in DRIFTED)
            for place, name in enumerate(workload.names)
        }
        if workload.labels:
            columns |= _targets(workload, start, count, rng)
        yield pl.DataFrame(columns)


def _feature(place: int, count: int, rng: np.random.Generator, *, drifted: bool) -> pl.Series:
    kind = kind_at(place)
    if kind == "category":
        size = _CATEGORIES[(place // 5) % len(_CATEGORIES)]
        shares = zipf_shares(size)
        bounds = np.cumsum(shares[::-1] if drifted else shares)[:-1]
        codes = np.searchsorted(bounds, rng.random(count), side="right")
        return pl.Series([f"kind {code:02}" for code in range(size)]).gather(codes)
    values: pl.Series
    if kind == "integer":
        values = pl.Series(rng.poisson(20.0, count).astype(np.int64))
    else:
        numbers = rng.standard_exponential(count) if kind == "exponential" else rng.standard_normal(count)
        numbers += _SHIFT if drifted else 0.0
        values = pl.Series(np.exp(numbers) if kind == "lognormal" else numbers)
    if place % 8 == 0:
        return values.set(pl.Series(rng.random(count) < _MISSING), None)
    return values


def _targets(workload: Workload, start: int, count: int, rng: np.random.Generator) -> dict[str, pl.Series]:
    """Times evenly over 30 days, scores that are calibrated, the prediction by their half, and the labels."""
    span = DAYS * 86_400_000_000
    places = np.arange(start, start + count, dtype=np.float64)
    times = FIRST_DAY + (places * (span / max(workload.rows, 1))).astype("timedelta64[us]")
    score = 1.0 / (1.0 + np.exp(-1.5 * rng.standard_normal(count)))
    return {
        "time": pl.Series(times).dt.replace_time_zone("UTC"),
        "score": pl.Series(score),
        "prediction": pl.Series((score >= 0.5).astype(np.int8)),
        "label": pl.Series((rng.random(count) < score).astype(np.int8)),
    }


def write(workload: Workload, path: Path) -> None:
    """Write Parquet as pandas and Arrow do by default (snappy), a row group a batch; memory is that of one batch.

    The file appears whole or not at all.
    """
    part = path.with_name(path.name + ".part")
    writer: pq.ParquetWriter | None = None
    for batch in batches(workload):
        table = batch.to_arrow()
        writer = writer or pq.ParquetWriter(part, table.schema)
        writer.write_table(table, row_group_size=max(len(table), 1))
    assert writer is not None  # there is always a first batch
    writer.close()
    part.replace(path)


def main() -> None:
    """Write one file from the command line; `benchmarks.bench` does it so, to stay small itself."""
    parser = argparse.ArgumentParser(description="Write a file of the workload.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--columns", type=int, required=True)
    parser.add_argument("--current", action="store_true")
    parser.add_argument("--labels", action="store_true")
    given = parser.parse_args()
    write(Workload(given.rows, given.columns, given.current, given.labels), given.path)


if __name__ == "__main__":
    main()
