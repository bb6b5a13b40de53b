"""What `make bench-send` says: what a sending takes in checks, and that all rows came."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.measure import Run
from benchmarks.send import Turn, in_checks, prepare, problems, told
from driftline.config.load import load


def turn(check: float, send: float, accepted: int = 10, problem: str = "") -> Turn:
    answer = {} if problem else {"accepted": accepted}
    return Turn(Run(check, 1.0, 0), Run(send, 2.0, 0, answer=answer, problem=problem), send + 1, 4.0)


def test_each_sending_is_held_against_the_check_of_its_turn() -> None:
    """A machine that is busy for one turn makes both of it slow."""
    turns = [turn(1.0, 3.0), turn(50.0, 150.0), turn(1.0, 4.0)]
    assert in_checks(turns) == pytest.approx(3.0) and problems(turns, 10) == []
    assert told(turns).splitlines()[2:] == [
        "| check | 1.0 | 1.0 | – |",
        "| send, until the last row is acknowledged | 4.0 | 2.0 | – |",
        "| send, until all is in the log and judged | 5.0 | 2.0 | 4.0 |",
    ]


def test_a_sending_that_failed_or_lacks_rows_does_not_count() -> None:
    assert problems([turn(1, 1), turn(1, 1, 9), turn(1, 1, problem="away")], 10) == [
        "away",
        "9 of 10 rows were accepted",
    ]


def test_the_files_are_what_the_configuration_reads(tmp_path: Path) -> None:
    prepare(tmp_path, 60, 5)
    [model] = load(tmp_path / "driftline.yaml").models.values()
    current = pl.read_parquet(tmp_path / "current.parquet")
    assert {model.columns.id, model.columns.time, model.columns.label} <= set(current.columns)
    assert current["id"].n_unique() == 60 and current.width == 5 + 5
