"""Both sides are opened and read ahead: what is read, and whose fault is reported, does not depend on how far ahead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.checks.opening import Batches, Opened
from driftline.errors import DataError
from driftline.profiles import Columns
from driftline.sources.files import open_rows
from driftline.sources.rows import Rows


def written(folder: Path, name: str, rows: int, columns: int) -> Rows:
    path = folder / f"{name}-{rows}x{columns}.parquet"
    pl.DataFrame({f"x{at}": [float(at * rows + row) for row in range(rows)] for at in range(columns)}).write_parquet(
        path
    )
    return open_rows(path)


def everything(batches: Batches, sides: int) -> list[pl.DataFrame]:
    """All columns of each side, put together from its groups."""
    return [
        pl.concat([pl.concat(list(batches.take())) for _ in batches.groups[side]], how="horizontal")
        for side in range(sides)
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 40), columns=st.integers(1, 120), cells=st.integers(0, 10_000))
def test_every_value_is_read_once_however_far_ahead(tmp_path: Path, rows: int, columns: int, cells: int) -> None:
    sides = [written(tmp_path, "reference", rows, columns), written(tmp_path, "current", rows + 1, columns)]
    for side, found in zip(sides, everything(Batches(sides, Columns(), cells), 2), strict=True):
        assert sorted(found.columns) == sorted(side.schema)
        assert found.select(list(side.schema)).equals(next(iter(side.batches(list(side.schema)))))


def test_a_side_that_is_read_otherwise_than_it_was_opened_is_read_so_throughout(tmp_path: Path) -> None:
    pl.DataFrame({"code": [1, 2], "x": [0.5, 1.5]}).write_parquet(tmp_path / "rows.parquet")
    opened = Opened(tmp_path / "rows.parquet", tmp_path / "rows.parquet", Columns())
    reference, current = opened.rows
    batches = opened.batches([reference.retyped({"code"}), current])
    assert [frame["code"].to_list() for frame in everything(batches, 2)] == [["1", "2"], [1, 2]]


def test_where_both_sides_are_broken_the_reference_is_named(tmp_path: Path) -> None:
    (tmp_path / "reference.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"reference\.parquet"):
        Opened(tmp_path / "reference.parquet", tmp_path / "missing.parquet", Columns())


def test_reading_begins_before_what_works_on_rows_is_imported() -> None:
    program = "import sys, driftline.checks.api; print({'numpy', 'driftline.rules'}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
