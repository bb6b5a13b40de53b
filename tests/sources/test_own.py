"""Measures of one's own: functions that are right, wrong, slow or gone, and whether their intervals hold."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.events import Kind, Schema, Task
from driftline.profiles.blocks import Keys
from driftline.sources.own import DRAWS, Replicates, replicates_apart, replicates_of
from driftline.statistics.bootstrap import blocks_of, measure_of, rows_for

FUNCTIONS = """
import os, sys, time
print("loaded, and noisy")
def right(rows): return (rows["label"] == rows["prediction"]).mean()
def raises(rows): raise KeyError("age")
def leaves(rows): sys.exit(0)
def dies(rows): os._exit(3)
def nothing(rows): return None
def nan(rows): return float("nan")
def forever(rows): time.sleep(60)
def first(rows): return rows["label"].is_in(["1"]).all() or 1 / 0
"""


def rows(count: int, right: float) -> pl.DataFrame:
    said = np.random.default_rng(count).random(count) < right
    return pl.DataFrame({"label": ["1"] * count, "prediction": np.where(said, "1", "0")})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "costs.py"
    path.write_text(FUNCTIONS)
    return path


def test_a_function_in_another_process_says_what_it_says_in_this(file: Path) -> None:
    there = rows(300, 0.8)
    blocks = np.arange(300) // 10
    here = replicates_of(lambda rows: (rows["label"] == rows["prediction"]).mean(), there, blocks)
    assert replicates_apart(f"{file}:right", there, blocks) == here
    assert (here.n, here.blocks, len(here.draws)) == (300, 30, DRAWS)
    assert here.value == (there["prediction"] == "1").mean()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("raises", "the function raised KeyError: 'age'"),
        ("leaves", "the function raised SystemExit: 0"),
        ("dies", "ended with 3"),
        ("nothing", "the function returned None; allowed is a finite number"),
        ("nan", "the function returned nan; allowed is a finite number"),
        ("rihgt", "Did you mean 'right'?"),
        ("forever", "took longer than 2 seconds"),
    ],
)
def test_what_goes_wrong_is_a_reason(file: Path, name: str, problem: str) -> None:
    found = replicates_apart(f"{file}:{name}", rows(20, 0.5), limit=timedelta(seconds=2 if name == "forever" else 60))
    assert found.value is None and problem in found.problem
    measure = measure_of("cost", found)
    assert (measure.value, measure.n, measure.problem) == (None, 20, found.problem)


def test_a_few_resamples_may_fail_and_many_leave_no_interval() -> None:
    def needs_rare(rows: pl.DataFrame) -> float:
        return 1 / rows["rare"].sum()

    often = pl.DataFrame({"rare": [1] * 10 + [0] * 90})
    assert len(replicates_of(needs_rare, often).draws) > 0.9 * DRAWS
    once = replicates_of(needs_rare, pl.DataFrame({"rare": [1] + [0] * 99}))
    assert (once.value, once.draws) == (1.0, ())
    measure = measure_of("cost", once)
    assert (measure.value, measure.low, measure.high) == (1.0, None, None)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), st.sampled_from([0.6, 0.9, 0.95, 0.99]))
@settings(max_examples=25, deadline=None)
def test_intervals_hold_the_value_grow_with_confidence_and_come_again(values: list[float], confidence: float) -> None:
    frame = pl.DataFrame({"x": values})
    found = replicates_of(lambda rows: rows["x"].mean(), frame)
    assert found == replicates_of(lambda rows: rows["x"].mean(), frame)
    measure, wider = (measure_of("x", found, confidence=level) for level in (confidence, 0.995))
    assert measure.low is not None and measure.value is not None and measure.high is not None
    assert wider.low is not None and wider.high is not None
    assert wider.low <= measure.low <= measure.value <= measure.high <= wider.high


@pytest.mark.parametrize("count", [20, 100])
def test_intervals_hold_what_they_say(count: int) -> None:
    """Of 200 samples of a skewed measure, about 190 intervals hold the truth."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        draws = np.array([rng.exponential(1.0, count)])
        places = rng.integers(0, count, (200, count))
        found = Replicates(float(draws.mean()), count, count, tuple(np.sort(draws[0][places].mean(axis=1)).tolist()))
        measure = measure_of("mean", found)
        assert measure.low is not None and measure.high is not None
        held += measure.low <= 1.0 <= measure.high
    assert held >= 178


def test_rows_that_share_luck_have_wider_intervals() -> None:
    rng = np.random.default_rng(1)
    days = np.repeat(np.arange(30), 20)
    frame = pl.DataFrame({"x": rng.normal(0, 1, 30)[days] + rng.normal(0, 0.1, 600)})
    alone, together = (replicates_of(lambda rows: rows["x"].mean(), frame, blocks) for blocks in (None, days))
    widths = [(one.high or 0) - (one.low or 0) for one in (measure_of("x", found) for found in (alone, together))]
    assert widths[1] > 2.5 * widths[0]


def test_blocks_are_days_or_hours_or_none() -> None:
    hours = np.repeat(np.arange(24 * 12), 3)
    days = blocks_of(Keys(1, hours))
    assert days is not None and len(np.unique(days)) == 12
    one_day = blocks_of(Keys(1, hours[: 24 * 3]))
    assert one_day is not None and len(np.unique(one_day)) == 24
    assert blocks_of(Keys(1, hours[:9])) is None and blocks_of(None) is None


def test_functions_get_the_rows_under_their_own_names() -> None:
    schema = Schema(Task.BINARY, {"age": Kind.NUMERIC, "label": Kind.NUMERIC}, ("0", "1"), "1")
    logged = pl.DataFrame(
        {
            "feature.age": [1.0, 2.0, 3.0],
            "feature.label": [7.0, 8.0, 9.0],
            "score.1": [0.9, 0.2, 0.6],
            "label": ["1", None, "0"],
            "time": [datetime(2024, 1, 1, tzinfo=UTC)] * 3,
        }
    )
    found, blocks = rows_for(logged, schema)
    assert found.to_dicts() == [
        {"label": "1", "prediction": "1", "time": logged["time"][0], "score": 0.9, "age": 1.0},
        {"label": "0", "prediction": "1", "time": logged["time"][0], "score": 0.6, "age": 3.0},
    ]
    assert blocks is None
    assert rows_for(logged.drop("label"), schema)[0].height == 0


def test_a_process_whose_parent_was_killed_ends_by_itself(file: Path, tmp_path: Path) -> None:
    for name in ("rows", "blocks", "against"):
        (rows(3, 1.0) if name == "rows" else pl.DataFrame()).write_ipc(tmp_path / f"{name}.arrow")
    command = [sys.executable, "-m", "driftline.sources.own", f"{file}:forever", str(tmp_path), "1"]
    assert subprocess.run(command, check=False, timeout=30).returncode == -signal.SIGALRM
