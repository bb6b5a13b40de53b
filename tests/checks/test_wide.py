"""What a check does for a column does not depend on how many others there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import driftline
from driftline.events import Task
from driftline.profiles import Columns, canonical, infer_schema

ROWS = 60
FEW, MANY = 60, 240


def rows(columns: int, seed: int) -> pl.DataFrame:
    """Numbers, and a text in every fourth column."""
    rng = np.random.default_rng(seed)
    kinds = (lambda: rng.normal(size=ROWS), lambda: rng.choice(["a", "b", "c"], ROWS))
    return pl.DataFrame({f"c{place}": kinds[place % 4 == 0]() for place in range(columns)})


DOORS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    "frame": lambda frame, path: frame,
    "pandas": lambda frame, path: frame.to_pandas(),
    "stream": lambda frame, path: frame.to_arrow().to_reader(),
    "csv": lambda frame, path: frame.write_csv(path) or path,
    "parquet": lambda frame, path: frame.write_parquet(path) or path,
    "ndjson": lambda frame, path: frame.write_ndjson(path) or path,
}


class Counted:
    """Counts how often a frame is asked for all of its columns, which takes as long as it is wide."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        for name in ("columns", "schema", "dtypes"):
            monkeypatch.setattr(pl.DataFrame, name, self._property(getattr(pl.DataFrame, name)))
        for name in ("select", "with_columns", "rename", "drop"):
            monkeypatch.setattr(pl.DataFrame, name, self._method(getattr(pl.DataFrame, name)))

    def _property(self, asked: property) -> property:
        def get(frame: pl.DataFrame) -> Any:
            self.times += frame.width >= FEW
            return asked.fget(frame)  # type: ignore[misc]

        return property(get)

    def _method(self, asked: Callable[..., Any]) -> Callable[..., Any]:
        def call(frame: pl.DataFrame, *arguments: Any, **named: Any) -> Any:
            self.times += frame.width >= FEW
            return asked(frame, *arguments, **named)

        return call


@pytest.mark.parametrize("door", DOORS)
def test_a_wide_frame_is_not_asked_for_its_columns_once_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    counted, times = Counted(monkeypatch), []
    for columns in (FEW, MANY):
        sides = [DOORS[door](rows(columns, seed), tmp_path / f"{columns}-{seed}.{door}") for seed in (1, 2)]
        counted.times = 0
        report = driftline.check(*sides)
        assert len(report.columns) == columns
        times.append(counted.times)
    assert 0 < times[1] <= times[0] + 20, times  # a few more groups of columns, not 180 more


def test_the_rows_of_events_and_references_are_not_either(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, times = Counted(monkeypatch), []
    for columns in (FEW, MANY):
        frame = rows(columns, 1)
        counted.times = 0
        canonical(frame, Columns(), infer_schema(frame, Columns(), task=Task.REGRESSION))
        times.append(counted.times)
    assert 0 < times[0] == times[1]
