"""`driftline profile --engine sql`: the file that it writes is the one of the rows, and is back-tested like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from driftline.cli import backtest, profile
from driftline.errors import UsageError
from tests.support.histories import days_of_rows, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's files, and a history that changes on its twelfth day: as a file and in a database."""
    folder = tmp_path_factory.mktemp("sql")
    write_model(folder)
    history = days_of_rows(20, changed=12)
    history.write_parquet(folder / "history.parquet")
    with duckdb.connect(folder / "history.db") as connection:
        connection.execute("CREATE TABLE history AS FROM history")
    return folder


def run(command: Any, folder: Path, *arguments: str) -> dict[str, Any]:
    options = [*arguments, "--config", str(folder / "driftline.yaml"), "--json"]
    found = CliRunner().invoke(command.command, options, standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def test_the_same_profiles_and_the_same_alerts(folder: Path) -> None:
    from_rows, from_sql = str(folder / "rows.parquet"), str(folder / "sql.parquet")
    run(profile, folder, str(folder / "history.parquet"), "--output", from_rows)
    database = ("--engine", "sql", "--rows", "SELECT * FROM history")
    found = run(profile, folder, f"duckdb:{folder / 'history.db'}", *database, "--output", from_sql)
    assert found["windows"] == 20
    assert found["left_out"] == {}
    assert_frame_equal(pl.read_parquet(from_sql), pl.read_parquet(from_rows))
    alerts = run(backtest, folder, from_sql)["alerts"]
    assert alerts == run(backtest, folder, from_rows)["alerts"]
    assert alerts


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("duckdb:x.db", "--engine", "sql"), "the table or query as --rows"),
        (("a.parquet", "--rows", "history"), "goes with --engine sql"),
        (("postgresql://me:secret@host/db", "--engine", "sql", "--rows", "t"), "other people see a command line"),
        (("mysql://host/db", "--engine", "sql", "--rows", "t"), "begins with none of"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, arguments: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        run(profile, folder, *arguments, "--output", str(folder / "no.parquet"))
    assert "secret" not in str(caught.value)
    assert not (folder / "no.parquet").exists()
