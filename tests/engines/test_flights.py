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


def driftline(folder: Path, *arguments: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "driftline", *arguments], cwd=folder, stdout=subprocess.PIPE, check=False, timeout=1200
    )
    assert done.returncode in (0, 1)
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
