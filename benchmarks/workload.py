"""The rows that are measured on: seeded, of mixed kinds, written to Parquet in batches.

Of five columns four are numbers (normal, log-normal, exponential, whole numbers, in turn) and the fifth is a text of
10 to 50 categories with Zipf-like shares. Every eighth column, where it is one of numbers, lacks 2 % of its values.
Of a ``skewed`` file the numbers are scores near 0, log-normal, whole ones that are stored as floats, and normal ones;
the texts have 10 to 1,000 categories; every column lacks 1 % of its values; and it is compressed with Zstandard.

In the current file the first number column has moved (by half a standard deviation; scores by a factor), and the
shares of the first text column are turned round.
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
_SKEWED_NUMBERS = ("score", "lognormal", "whole", "normal")
_CATEGORIES, _SKEWED_CATEGORIES = (10, 20, 30, 40, 50), (10, 30, 100, 300, 1000)
_MISSING, _SKEWED_MISSING = 0.02, 0.01
_FALSE, _TRUE = 0.6, 9.0  # of the beta distribution of scores: nine of ten are below 0.17
_SHIFT = 0.5
_ZIPF = 1.1
_BATCH_CELLS, _BATCH_ROWS = 16_000_000, 262_144

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Workload:
    """What a file holds: ``rows`` × ``columns`` features, and with ``labels`` the columns `TARGETS` as well.

    The same values give the same file. ``current`` is the side that has drifted; ``skewed`` names the second workload.
    Zero rows or columns are allowed.
    """

    rows: int
    columns: int
    current: bool = False
    labels: bool = False
    seed: int = 20240101
    skewed: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the features: kind and place."""
        return [f"{kind_at(place, skewed=self.skewed)}_{place:04}" for place in range(self.columns)]

    @property
    def batch_rows(self) -> int:
        """How many rows are in memory at a time: no more than 128 MB of numbers."""
        return max(min(_BATCH_ROWS, _BATCH_CELLS // max(self.columns, 1)), 1)


def kind_at(place: int, *, skewed: bool = False) -> str:
    """The kind of the feature at a place, from 0."""
    numbers = _SKEWED_NUMBERS if skewed else _NUMBERS
    return "category" if place % 5 == 4 else numbers[(place - place // 5) % 4]


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
            name: _feature(workload, place, count, rng, drifted=workload.current and place in DRIFTED)
            for place, name in enumerate(workload.names)
        }
        if workload.labels:
            columns |= _targets(workload, start, count, rng)
        yield pl.DataFrame(columns)


def _feature(workload: Workload, place: int, count: int, rng: np.random.Generator, *, drifted: bool) -> pl.Series:
    kind = kind_at(place, skewed=workload.skewed)
    values = _categories(workload, place, count, rng, drifted=drifted) if kind == "category" else None
    if values is None:
        values = _numbers(kind, count, rng, drifted=drifted)
    missing = _SKEWED_MISSING if workload.skewed else _MISSING * (place % 8 == 0 and kind != "category")
    return values.set(pl.Series(rng.random(count) < missing), None) if missing else values


def _categories(workload: Workload, place: int, count: int, rng: np.random.Generator, *, drifted: bool) -> pl.Series:
    sizes = _SKEWED_CATEGORIES if workload.skewed else _CATEGORIES
    size = sizes[(place // 5) % len(sizes)]
    shares = zipf_shares(size)
    bounds = np.cumsum(shares[::-1] if drifted else shares)[:-1]
    codes = np.searchsorted(bounds, rng.random(count), side="right")
    return pl.Series([f"kind {code:02}" for code in range(size)]).gather(codes)


def _numbers(kind: str, count: int, rng: np.random.Generator, *, drifted: bool) -> pl.Series:
    if kind in ("integer", "whole"):
        return pl.Series(rng.poisson(20.0, count).astype(np.int64 if kind == "integer" else np.float64))
    if kind == "score":
        return pl.Series(rng.beta(_FALSE + _SHIFT * drifted, _TRUE, count))
    numbers = rng.standard_exponential(count) if kind == "exponential" else rng.standard_normal(count)
    numbers += _SHIFT if drifted else 0.0
    return pl.Series(np.exp(numbers) if kind == "lognormal" else numbers)


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
    """Write Parquet as pandas and Arrow do by default (snappy; a skewed one zstd), a row group a batch, in its memory.

    The file appears whole or not at all.
    """
    part = path.with_name(path.name + ".part")
    writer: pq.ParquetWriter | None = None
    for batch in batches(workload):
        table = batch.to_arrow()
        writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd" if workload.skewed else "snappy")
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
    parser.add_argument("--skewed", action="store_true")
    given = parser.parse_args()
    workload = Workload(given.rows, given.columns, given.current, given.labels, skewed=given.skewed)
    write(workload, given.path)


if __name__ == "__main__":
    main()
