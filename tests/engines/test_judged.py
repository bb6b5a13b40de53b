"""`check` and `backtest` with ``--engine``: rows are profiled where they lie, and judged as if they had been read here.

Spark itself does it in tests/engines/test_flights.py and test_spark.py; what it hands to the commands is stood in for
here by the map that its executors run.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from driftline import spark
from driftline.cli.main import main
from driftline.engines import local
from driftline.profiles.carried import as_carried, merge_group, profile_partition
from driftline.profiles.layout import Layout
from driftline.profiles.table import ProfileTable, as_batch, from_batch
from driftline.sources.far import store_options
from driftline.sources.files import files_of, open_rows, whole
from tests.support.s3 import S3

BEGIN, DAYS, A_DAY = datetime(2026, 1, 1, tzinfo=UTC), 24, 24
COLUMNS = {"time": "at", "prediction": "said", "label": "was", "segments": ["k"]}
RULES = [{"name": "low", "measure": "accuracy", "below": 0.7}]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference of two weeks, and ten days in two files, of which the last four went wrong."""
    folder = tmp_path_factory.mktemp("judged")
    drawn, size = np.random.default_rng(5), DAYS * A_DAY
    day = np.arange(size) // A_DAY
    said = drawn.integers(0, 2, size)
    rows = pl.DataFrame(
        {
            "at": [BEGIN + timedelta(hours=place) for place in range(size)],
            "x": drawn.normal(0, 1, size) + np.where(day >= 20, 4.0, 0.0),
            "k": drawn.choice(["a", "b"], size),
            "said": said,
            "was": np.where(drawn.random(size) < np.where(day >= 20, 0.5, 0.9), said, 1 - said),
        }
    )
    rows[: 14 * A_DAY].write_parquet(folder / "reference.parquet")
    (folder / "rows").mkdir()
    rows[14 * A_DAY : 19 * A_DAY].drop("k").write_parquet(folder / "rows/1.parquet")
    rows[19 * A_DAY :].write_parquet(folder / "rows/2.parquet")
    rows[14 * A_DAY : 19 * A_DAY].write_parquet(folder / "fine.parquet")
    rows[:14].drop("at").write_parquet(folder / "timeless.parquet")
    rows.clear().write_parquet(folder / "none.parquet")
    write_config(folder / "driftline.yaml")
    return folder


@pytest.fixture(autouse=True)
def inside(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)


def write_config(path: Path, **others: Any) -> str:
    alerts = {"budget": "none", "rules": RULES}  # the detector takes a second, and is asked where it matters
    model: dict[str, Any] = {"task": "binary", "window": "1d", "columns": COLUMNS, "alerts": alerts}
    path.write_text(yaml.safe_dump({"models": {"m": model | {"reference": {"path": "reference.parquet"}} | others}}))
    return str(path)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err


@pytest.fixture
def executors(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Stands in for Spark: each file is a partition. Lists what was asked for."""
    asked: list[Sequence[str]] = []

    def profile_files(paths: Sequence[str], layout: Layout) -> ProfileTable:
        asked.append(paths)
        carried, parts = as_carried(layout), [as_batch(ProfileTable(), layout)]
        for frame in (pl.read_parquet(file) for path in paths for file in files_of(path)):
            parts += profile_partition(frame.to_arrow().to_batches(), frame.columns, carried)
        import pyarrow as pa

        return from_batch(merge_group(pa.Table.from_batches(parts), carried), layout)

    monkeypatch.setattr(spark, "profile_files", profile_files)
    return asked


def test_a_backtest_says_the_same_whoever_reads_the_rows(
    capsys: pytest.CaptureFixture[str], executors: list[Sequence[str]]
) -> None:
    config = write_config(Path("budget.yaml"), alerts={"budget": "1 per 30d", "rules": RULES})
    of_rows = said(capsys, "backtest", "rows", "--json", "--config", config)
    assert of_rows[0] == 1
    assert {"low", "budget"} <= {alert["rule"] for alert in json.loads(of_rows[1])["alerts"]}
    for engine in ("local", "spark"):
        assert said(capsys, "backtest", "rows", "--engine", engine, "--json", "--config", config) == of_rows
    assert executors == [["rows"]]
    fine = said(capsys, "backtest", "fine.parquet", "--engine", "spark")
    assert fine == said(capsys, "backtest", "fine.parquet")
    assert fine[0] == 0


@pytest.mark.parametrize("current", ["rows", "reference.parquet"])
def test_a_check_says_the_same_as_of_stored_profiles(
    capsys: pytest.CaptureFixture[str], executors: list[Sequence[str]], tmp_path: Path, current: str
) -> None:
    sides = ("reference.parquet", current)
    stored = [str(tmp_path / f"{place}.parquet") for place in range(2)]
    for side, output in zip(sides, stored, strict=True):
        assert said(capsys, "profile", side, "--output", output)[0] == 0
    of_stored = said(capsys, "check", *stored, "--config", "driftline.yaml", "--json")
    assert of_stored[0] == (0 if current == sides[0] else 1)
    for engine in ("local", "spark"):
        asked = ("--config", "driftline.yaml", "--engine", engine, "--json")
        assert said(capsys, "check", *sides, *asked) == of_stored
        assert said(capsys, "check", stored[0], current, *asked) == of_stored  # which is profiled already
    assert executors == [[sides[0]], [current], [current]]
    assert "relations between columns and repeated rows are not looked at" in of_stored[1]


def test_a_check_needs_no_times(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    columns = {"prediction": "said", "label": "was"}
    config = write_config(Path("timeless.yaml"), columns=columns, alerts={"budget": "none"})
    sides = ("timeless.parquet", "timeless.parquet")
    code, out, err = said(capsys, "check", *sides, "--config", config, "--engine", "local", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["rows"] == {"reference": 14, "current": 14}


def test_a_history_is_profiled_once_for_two_configurations_that_read_it_alike(
    capsys: pytest.CaptureFixture[str], executors: list[Sequence[str]]
) -> None:
    for name, others, passes in (
        ("rules.yaml", {"alerts": {"budget": "none", "rules": [RULES[0] | {"below": 0.99}]}}, 1),
        ("weeks.yaml", {"window": "2d"}, 2),
        ("formats.yaml", {"columns": COLUMNS | {"missing": ["a"]}}, 2),
    ):
        asked = ("backtest", "rows", "--against", write_config(Path(name), **others), "--json")
        of_rows = said(capsys, *asked)
        executors.clear()
        assert said(capsys, *asked, "--engine", "spark") == of_rows
        assert len(executors) == passes, name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("check reference.parquet rows --engine spark", "--engine spark came without --config"),
        ("check reference.parquet none.parquet --config driftline.yaml --engine local", "it has no rows"),
        ("check reference.parquet rows --config driftline.yaml --engine local --label x", "label 'x' came, and"),
        ("check reference.parquet rows --config driftline.yaml --engine local --ignore x", "ignore 'x' came, and"),
        ("check reference.parquet rows --config driftline.yaml --engine local --missing ?", "missing '?' came, and"),
        ("check reference.parquet rows --config driftline.yaml --engine abacus", "'abacus' is not one of 'local', '"),
        ("backtest rows --engine abacus", "'abacus' is not one of 'local', 'spark'"),
        ("backtest served:m --engine local", "its windows are profiled already: leave it out"),
        ("backtest gone.parquet --engine local", "gone.parquet: there is no such file"),
        ("backtest none.parquet --engine local", "it has no rows; profiles are made by window of time"),
        ("backtest rows --engine local --config untimed.yaml", "models.m.columns.time is not set"),
    ],
)
def test_what_cannot_be_profiled_is_one_line(capsys: pytest.CaptureFixture[str], arguments: str, words: str) -> None:
    write_config(Path("untimed.yaml"), columns={"prediction": "said", "label": "was"}, alerts={})
    code, out, err = said(capsys, *arguments.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


@pytest.mark.parametrize("command", ["backtest rows", "check reference.parquet rows --config driftline.yaml"])
def test_without_spark_it_is_said_in_one_line_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name in ("pyspark", "pyspark.sql"):
        monkeypatch.setitem(sys.modules, name, None)
    code, out, err = said(capsys, *command.split(), "--engine", "spark")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "python -m pip install 'driftline[spark]'" in err


def test_rows_are_read_in_batches_and_not_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local engine is that of `driftline profile`, each row once."""
    heights: list[int] = []
    own = local.profile_batch

    def counted(batch: pl.DataFrame, layout: Layout) -> ProfileTable:
        heights.append(batch.height)
        return own(batch, layout)

    monkeypatch.setattr(local, "profile_batch", counted)
    said(capsys, "backtest", "rows", "--engine", "local")
    assert sorted(heights) == [5 * A_DAY, 5 * A_DAY]


def test_profiles_with_hidden_columns_are_checked_as_profiles(capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(Path("hidden.yaml"), columns={**COLUMNS, "store": {"k": "hash"}})
    for rows, output in (("reference.parquet", "hidden-1.parquet"), ("rows", "hidden-2.parquet")):
        assert said(capsys, "profile", rows, "--output", output, "--config", config)[0] == 0
    sides, asked = ("hidden-1.parquet", "hidden-2.parquet"), ("--config", config, "--json")
    of_rows = said(capsys, "check", "reference.parquet", "rows", "--engine", "local", *asked)
    assert of_rows[0] == 1
    assert said(capsys, "check", *sides, *asked) == of_rows
    code, _, err = said(capsys, "check", "reference.parquet", sides[1], *asked)
    assert code == 2
    assert "hashed values of k, and rows came beside them; profile these, too" in err


# ---- in an object store ----------------------------------------------------------------------------------------------


def test_rows_and_tables_may_lie_in_an_object_store(capsys: pytest.CaptureFixture[str], s3: S3) -> None:
    """A real server of S3. What is there and is no table of profiles stays; a table that was cut is refused."""
    place = s3.address()
    options = store_options(place)
    for name in ("1", "2"):
        pl.read_parquet(f"rows/{name}.parquet").write_parquet(f"{place}/rows/{name}.parquet", storage_options=options)
    of_rows = said(capsys, "backtest", "rows", "--json")
    assert of_rows[0] == 1
    for output in (f"{place}/made.parquet", f"{place}/table/"):
        for name in ("2", "*", "*"):  # the first is no whole history; the next ones take its place
            code, _, err = said(capsys, "profile", f"{place}/rows/{name}.parquet", "--output", output)
            assert (code, err) == (0, "")
        assert said(capsys, "backtest", output, "--json") == of_rows
    assert said(capsys, "backtest", f"{place}/rows/*.parquet", "--engine", "local", "--json") == of_rows
    code, out, err = said(capsys, "profile", "rows", "--output", f"{place}/rows/1.parquet")
    assert (code, out) == (2, "")
    assert "is there, and is no table of profiles; name another place" in err
    address = place.replace("s3://", os.environ["AWS_ENDPOINT_URL"] + "/") + "/cut.parquet"
    said(capsys, "profile", "rows", "--output", "made.parquet")
    whole, headers = Path("made.parquet").read_bytes(), {"Content-Type": "application/octet-stream"}
    cut = urllib.request.Request(address, whole[: len(whole) // 2], headers, method="PUT")
    urllib.request.urlopen(cut, timeout=60).close()
    code, out, err = said(capsys, "backtest", f"{place}/cut.parquet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{place}/cut.parquet cannot be read" in err


def test_names_in_an_object_store_are_no_patterns(s3: S3) -> None:
    place = s3.address()
    options = store_options(place)
    folders = {"odd": ["a?b", "k*", "k[1]", "kind"], "usual": ["a%20b", "a b"]}
    for folder, names in folders.items():
        for name in names:
            address = f"{place}/{folder}/{name}.parquet"
            pl.DataFrame({"name": [name]}).write_parquet(address, storage_options=options)
    assert len(files_of(f"{place}/usual/*.parquet")) == 2
    for folder, names in folders.items():
        files = [whole(open_rows(file)) for file in files_of(f"{place}/{folder}/*.parquet")]
        assert sorted(pl.concat(files)["name"]) == sorted(names)
