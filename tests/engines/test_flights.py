"""A year of flights by month, profiled here and on Spark, back-tested with a budget: the alerts of the rows.

It runs where Spark is installed (`make test-engines`); a small history goes the same way in each run of the tests, see
tests/monitoring/test_profiling.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from driftline.engines.stored import open_profiles
from tests.support.flights import fetch, read_flights

pytest.importorskip("pyspark")

REFERENCE_UNTIL = datetime(2013, 1, 1, 5, tzinfo=UTC) + timedelta(weeks=8)
FEATURES = ["dep_delay", "distance", "carrier", "dest", "hour"]


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flights")
    try:
        flights = read_flights(fetch(Path(".bench")))
    except SystemExit as error:
        pytest.skip(str(error))
    rows = flights.select("time", "prediction", "score", pl.col("late").alias("label"), "origin", *FEATURES)
    rows.filter(pl.col("time") < REFERENCE_UNTIL).write_parquet(folder / "reference.parquet")
    (folder / "months").mkdir()
    for (month,), part in rows.group_by(pl.col("time").dt.month(), maintain_order=True):
        part.write_parquet(folder / "months" / f"2013-{month:02}.parquet")
    columns = {"time": "time", "prediction": "prediction", "score": "score", "label": "label", "segments": ["origin"]}
    model = {
        "task": "binary",
        "window": "1d",
        "timezone": "America/New_York",
        "columns": {**columns, "features": [*FEATURES, "origin"], "categorical": ["hour"]},
        "reference": {"path": "reference.parquet"},
        "alerts": {"budget": "1 per 90d"},
    }
    (folder / "driftline.yaml").write_text(json.dumps({"models": {"flights": model}}))
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "driftline", *arguments], cwd=folder, capture_output=True, check=False, timeout=1200
    )


def driftline(folder: Path, *arguments: str) -> bytes:
    done = run(folder, *arguments)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_the_alerts_of_a_year_are_those_of_its_rows_whoever_profiled_it(year: Path) -> None:
    told = json.loads(driftline(year, "profile", "months/*.parquet", "--output", "local.parquet", "--json"))
    assert (told["rows"], told["windows"]) == (336_776, 365)
    driftline(year, "profile", "months/*.parquet", "--output", "spark.parquet", "--engine", "spark")
    assert open_profiles(year / "spark.parquet").table == open_profiles(year / "local.parquet").table
    assert (year / "spark.parquet").read_bytes() == (year / "local.parquet").read_bytes()
    of_rows = driftline(year, "backtest", "months", "--json")
    assert json.loads(of_rows)["alerts"]
    assert driftline(year, "backtest", "spark.parquet", "--json") == of_rows
    assert driftline(year, "backtest", "months", "--engine", "spark", "--json") == of_rows


def test_a_check_on_spark_says_what_one_on_this_machine_says(year: Path) -> None:
    asked = ("check", "reference.parquet", "months", "--config", "driftline.yaml", "--json", "--engine")
    here, there = (run(year, *asked, engine) for engine in ("local", "spark"))
    assert json.loads(here.stdout)["rows"]["current"] == 336_776
    assert (there.returncode, there.stdout) == (here.returncode, here.stdout)


def test_what_spark_cannot_read_is_one_line_in_its_words(year: Path) -> None:
    (year / "odd").mkdir()
    month = pl.read_parquet(year / "months/2013-01.parquet").head(10)
    month.write_parquet(year / "odd/1.parquet")
    month.with_columns(pl.col("distance").cast(pl.String)).write_parquet(year / "odd/2.parquet")
    for history, words in (("gone.parquet", "PATH_NOT_FOUND"), ("odd", "MERGE")):
        done = run(year, "backtest", history, "--engine", "spark", "--json")
        assert (done.returncode, done.stdout) == (2, b"")
        last = done.stderr.decode().splitlines()[-1]
        assert last.startswith(f"driftline: {history} cannot be profiled by Spark: ")
        assert words in last
