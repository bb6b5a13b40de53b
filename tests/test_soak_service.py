"""What `make soak-service` says grows: a leak is found, noise and merged files are none."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak_service import Sample, ids_in, judge, slope, told
from driftline.store.database import open_database
from driftline.store.runs import KEPT_FROM, NO_MARK, KeptParts, Rows, Runs
from driftline.store.tables import EPOCH

RATE = 1000.0


def steady(seed: int = 1, minutes: int = 5) -> list[Sample]:
    """A service that warms up for a quarter, and then goes on as it is, with noise; its files are merged at times."""
    rng = random.Random(seed)
    found, disk = [], 0.0
    for second in range(60 * minutes):
        warm = min(1.0, second / (15 * minutes))
        disk += 60 * RATE - (59 * RATE * 30 if second % 31 == 30 else 0)
        memory = 150e6 + 100e6 * warm + rng.uniform(0, 12e6)
        found.append(
            Sample(
                float(second),
                memory + 1e5 * second,
                1e5 * second,
                40 + rng.randint(0, 3),
                20,
                60 + rng.randint(0, 9),
                disk,
                rng.uniform(0, 2 * RATE),
                second * RATE,
            )
        )
    return found


@given(st.integers(0, 1000))
def test_a_steady_service_holds(seed: int) -> None:
    assert [one.what for one in judge(steady(seed), RATE) if not one.holds] == []


LEAKS = {
    "memory but known ids": lambda one: replace(one, memory=one.memory + 0.3e6 * one.second),
    "open files": lambda one: replace(one, files=one.files + one.second / 20),
    "threads": lambda one: replace(one, threads=one.threads + one.second // 60),
    "waiting events": lambda one: replace(one, waiting=one.waiting + RATE * one.second / 5),
    "disk an event": lambda one: replace(one, disk=one.disk + one.second**2 * RATE),
}


@pytest.mark.parametrize("what", LEAKS)
def test_what_leaks_is_named(what: str) -> None:
    leaking = [LEAKS[what](one) for one in steady()]
    verdicts = judge(leaking, RATE)
    assert [one.what for one in verdicts if not one.holds] == [what]
    assert f"| {what} " in told(leaking, verdicts) and told(leaking, verdicts).count("DOES NOT HOLD") == 1


@given(st.floats(-100, 100), st.lists(st.integers(0, 59), max_size=15, unique=True))
def test_a_slope_is_that_of_most_whatever_some_say(hourly: float, off: list[int]) -> None:
    values = [hourly * second / 3600 for second in range(60)]
    for place in off:
        values[place] = 1e9
    if len(off) < 12:
        assert slope(list(range(60)), values) == pytest.approx(hourly, abs=max(3.0, abs(hourly)))
    if not off:
        assert slope(list(range(60)), values) == pytest.approx(hourly, abs=1e-6)


def test_one_moment_has_no_slope() -> None:
    assert slope([1.0], [5.0]) != slope([1.0], [5.0])


def test_the_ids_that_are_left_out_are_those_that_a_process_keeps(tmp_path: Path) -> None:
    """A run that is large enough, once it was looked into; not one that is soon merged."""
    address = f"sqlite:///{tmp_path / 'state.db'}"
    engine, kept = open_database(address, sync_commits=False), KeptParts()
    rows = {"north": numbered(KEPT_FROM), "south": numbered(KEPT_FROM // 2)}
    with engine.begin() as connection:
        for model, of in rows.items():
            Runs(connection).put(model, of, EPOCH, kept_for=timedelta(days=1))
    with engine.begin() as connection:
        for model, of in rows.items():
            assert Runs(connection, kept).find(model, of.high, of.low).known.all()
        parts = [kept.of(model, run) for model in rows for run in Runs(connection).of(model)]
    assert ids_in(engine) == sum(len(body) for of in parts for body in of.values()) > 24 * KEPT_FROM
    engine.dispose()


def numbered(size: int) -> Rows:
    keys = np.arange(size, dtype=np.uint64)
    return Rows(keys << np.uint64(40), keys, np.zeros(size, np.int64), np.full(size, NO_MARK))
