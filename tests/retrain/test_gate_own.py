"""A contest by a measure of one's own: a function of the rows and of what each model said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from driftline.checks.labelled import GateColumns
from driftline.cli.gate import command
from driftline.errors import UsageError
from driftline.reports.contest_html import contest_html
from driftline.retrain.gate import hold
from driftline.rules.contest import Contest
from driftline.rules.contestants import Settings

FUNCTIONS = """
def right(rows):
    return (rows["label"] == rows["prediction"]).mean()

def cost(rows):
    missed = (rows["label"] == "1") & (rows["prediction"] == "0")
    return (missed * rows["price"]).sum() / len(rows) + (rows["prediction"] == "1").mean()

def broken(rows):
    return rows["agee"].sum()
"""
COLUMNS = GateColumns(label="y", id="id")
ROWS = 600


@pytest.fixture
def costs(tmp_path: Path) -> Path:
    path = tmp_path / "costs.py"
    path.write_text(FUNCTIONS)
    return path


def data(right: float, seed: int = 2) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Labelled rows, and the answers of a model that is right in 80 of 100 and of another."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, ROWS)
    rows = pl.DataFrame({"id": np.arange(ROWS), "price": rng.uniform(1, 9, ROWS), "y": truth})
    return rows, *(
        rows.select("id", prediction=pl.Series(np.where(rng.random(ROWS) < share, truth, 1 - truth)))
        for share in (0.8, right)
    )


def held(costs: Path, name: str, right: float, **settings: str | float) -> Contest:
    rows, champion, challenger = data(right)
    return hold(champion, challenger, rows, COLUMNS, Settings(measure=f"{costs}:{name}", **settings))  # type: ignore[arg-type]


def test_it_decides_as_the_same_measure_of_ours_does(costs: Path) -> None:
    for right in (0.9, 0.8, 0.6):
        rows, champion, challenger = data(right)
        ours = hold(champion, challenger, rows, COLUMNS, Settings(measure="accuracy"))
        own = held(costs, "right", right, better="higher")
        assert (own.decision, own.measure) == (ours.decision, "right")
        assert (own.difference.first, own.difference.second) == (ours.difference.first, ours.difference.second)
        assert own.difference.value == pytest.approx(ours.difference.value)
        assert own.difference.low == pytest.approx(ours.difference.low, abs=0.015)


def test_lower_may_be_better_and_the_floor_knows_it(costs: Path) -> None:
    better, worse = (held(costs, "cost", right, better="lower", floor=1.0) for right in (0.95, 0.6))
    assert (better.decision, worse.decision) == ("promote", "hold")
    assert better.difference.value is not None and better.difference.first is not None
    assert better.difference.value > 0 and better.difference.second is not None
    assert better.difference.first < better.difference.second
    gates = {gate.name: gate for gate in worse.gates}
    assert gates["floor"].passed is False and "is above the floor of 1" in gates["floor"].reason
    assert "its cost is not shown to be better" in gates["better"].reason
    assert "cost" in contest_html(better)


def test_a_function_that_fails_holds_with_its_reason(costs: Path) -> None:
    contest = held(costs, "broken", 0.95, better="lower")
    assert contest.decision == "hold" and "agee" in contest.reason


def test_which_side_is_better_has_to_be_said(costs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="say whether higher or lower values are better"):
        held(costs, "cost", 0.9)
    rows, champion, challenger = data(0.95)
    for name, frame in (("rows", rows), ("old", champion), ("new", challenger)):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in ("old", "new", "rows")]
    options = [*files, "--label", "y", "--id", "id", "--measure", f"{costs}:cost", "--better"]
    done = CliRunner().invoke(command, [*options, "lower"], standalone_mode=False)
    assert done.return_value == 0 and "its cost is better" in " ".join(done.stdout.split())
    with pytest.raises(UsageError, match="allowed is higher, lower"):
        CliRunner().invoke(command, [*options, "less"], standalone_mode=False, catch_exceptions=False)
    with pytest.raises(UsageError, match="it is for a measure of yours"):
        hold(champion, challenger, rows, COLUMNS, Settings(measure="accuracy", better="lower"))
