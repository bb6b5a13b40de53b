"""Windows of an hour: a number with a daily rhythm, judged by whole days, by the rhythm, and by single hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from driftline.detection import (
    Accepted,
    Cadence,
    DetectorState,
    HistoryWindow,
    Judged,
    Observed,
    Outcome,
    SuspectedKind,
    Use,
    judge_history,
    learn_reference,
    turns_of,
)
from driftline.events import Window, WindowSpec
from driftline.profiles import CategoricalColumn, NumericColumn, Profile, WindowProfile
from driftline.sketches import Grid, decode, encode

START = datetime(2024, 1, 1, tzinfo=UTC)
HOURLY = Cadence(WindowSpec("1h"))
LEARNT = 14
HOUR = timedelta(hours=1)

Load = Callable[[int, int], float]
"""The mean load of a day's hour."""


def usual(_day: int, hour: int) -> float:
    return 50 + 20 * float(np.sin(hour / 24 * 2 * np.pi))


def hours(days: int, load: Load = usual, *, rows: int = 30, nights: bool = True) -> list[HistoryWindow]:
    """Hours of some days; ``nights`` have rows or not."""
    rng = np.random.default_rng(1)
    found = []
    for day in range(days):
        for hour in range(24):
            count = int(rng.poisson(rows)) if nights or 6 <= hour < 22 else 0
            values = pl.Series(load(day, hour) + 5 * rng.standard_normal(count))
            start = START + timedelta(days=day, hours=hour)
            columns = {
                "load": NumericColumn.of(values, Grid(50.0, 1.0)),
                "part": CategoricalColumn.of(pl.Series(["night" if hour < 6 else "day"] * count, dtype=pl.String)),
            }
            profile = WindowProfile(Profile(count, columns), Profile(count, {}))
            found.append(HistoryWindow(Window(start, start + HOUR), Observed(profile)))
    return found


def judge(windows: list[HistoryWindow], cadence: Cadence = HOURLY, *events: Accepted) -> Judged:
    learnt = START + timedelta(days=LEARNT)
    reference = [one for one in windows if one.window.start < learnt]
    return judge_history(windows[len(reference) :], cadence, reference=reference, events=events)


def alarms(judged: Judged) -> list[datetime]:
    return [one.window.end for one in judged.verdicts if one.outcome is Outcome.ALARM]


def test_a_daily_rhythm_is_no_alarm() -> None:
    judged = judge(hours(LEARNT + 14))
    assert len(judged.verdicts) == 14 * 24 and not alarms(judged)


@pytest.mark.parametrize(
    ("load", "named"),
    [
        (lambda day, hour: usual(day, hour - 3 * (day >= LEARNT + 2)), "daily rhythm"),
        (lambda day, hour: usual(day, hour) if day < LEARNT + 2 else 100 - usual(day, hour), "daily rhythm"),
        (lambda day, hour: usual(day, hour) + 10 * (day >= LEARNT + 2), "location"),
    ],
    ids=["three hours later", "turned round", "higher"],
)
def test_a_shift_of_the_rhythm_is_found_by_the_days(load: Load, named: str) -> None:
    judged = judge(hours(LEARNT + 4, load))
    first = next(one for one in judged.verdicts if one.findings)
    assert first.window.end == START + timedelta(days=LEARNT + 3)  # when the first day is over
    assert first.opens and first.notifies and first.suspicion is not None
    assert first.findings[0].column == "load" and named in first.findings[0].measure
    assert first.suspicion.kind is SuspectedKind.INPUT_DRIFT


def gone(windows: list[HistoryWindow], at: int) -> list[HistoryWindow]:
    """The same with an hour in which half of the loads are missing."""
    before = windows[at]
    rows = before.observed.profile.features.rows
    values = pl.Series([50.0] * (rows // 2) + [None] * (rows - rows // 2))
    columns = {**before.observed.profile.features.columns, "load": NumericColumn.of(values, Grid(50.0, 1.0))}
    profile = WindowProfile(Profile(rows, columns), Profile(rows, {}))
    return [*windows[:at], HistoryWindow(before.window, Observed(profile)), *windows[at + 1 :]]


def test_a_fault_that_cannot_wait_is_told_in_its_hour_and_is_one_alarm_with_its_day() -> None:
    windows = gone(hours(LEARNT + 10), (LEARNT + 1) * 24 + 9)
    judged = judge(windows)
    found = [one for one in judged.verdicts if one.findings]
    assert found[0].window.start == START + timedelta(days=LEARNT + 1, hours=9)
    assert found[0].opens and found[0].suspicion is not None
    assert found[0].suspicion.kind is SuspectedKind.PIPELINE_FAULT
    assert not any(one.opens for one in found[1:]) and sum(one.notifies for one in found) == 1
    assert [one.closed is not None for one in judged.verdicts].count(True) == 1


def test_nights_without_rows_are_usual_and_a_day_without_is_not() -> None:
    windows = hours(LEARNT + 3, rows=60, nights=False)
    assert not alarms(judge(windows))
    at = (LEARNT + 1) * 24 + 12
    empty = HistoryWindow(windows[at].window, Observed())
    assert alarms(judge([*windows[:at], empty, *windows[at + 1 :]]))[0] == empty.window.end


def test_without_a_reference_the_first_days_are_learnt_from() -> None:
    verdicts = judge_history(hours(9), HOURLY).verdicts
    assert not [one for one in verdicts if one.findings]
    assert verdicts[30].outcome is Outcome.LEARNING and verdicts[30].reason.startswith("learning, ")
    assert verdicts[-1].outcome is Outcome.OK and verdicts[-1].reason.startswith("season not learnt yet")


def test_an_hour_or_a_day_that_is_not_over_is_not_judged() -> None:
    windows = hours(LEARNT + 2)[:-5]
    late = judge([*windows, HistoryWindow(windows[-1].window, Observed(), use=Use.SKIP)][:-1])
    assert late.state is not None and late.state.whole.steps == 1 and len(late.verdicts) == 48 - 5
    quarters = [
        HistoryWindow(Window(one.window.start, one.window.start + HOUR / 4), one.observed) for one in windows[:10]
    ]
    assert len(judge_history(quarters, Cadence(WindowSpec("15min"))).verdicts) == 9


def test_a_state_that_is_stored_without_values_goes_on_as_if_it_had_them() -> None:
    days = 22  # single hours learn again on the way
    windows = hours(LEARNT + days, lambda day, hour: usual(day, hour) + 10 * (day >= LEARNT + 2), rows=6)
    reference = [one for one in windows if one.window.start < START + timedelta(days=LEARNT)]
    learnt = learn_reference(reference, HOURLY)
    fold, state = learnt.fold(HOURLY), learnt.state
    readings = fold.readings(list(turns_of(windows[len(reference) :], HOURLY)))
    wholes = {one.whole.window.start: one.whole for one in readings if one.whole is not None}
    wholes |= {one.start: one for one in learnt.state.whole.history}
    bare, learns = state, 0
    for place, reading in enumerate(readings):
        if place == 10 * 24:
            state, bare = (fold.accept(one, START + timedelta(days=LEARNT + 2)) for one in (state, bare))
            assert bare.whole == state.whole and len(bare.whole.moves) == 1
        learns += fold.may_learn_next(state, reading)
        state, said = fold.step(state, reading)
        bare, same = fold.step(bare, reading)
        assert same == said
        stored = decode(encode(bare.whole.without_values()), DetectorState)
        assert len(encode(stored)) < len(encode(bare.whole))
        bare = replace(bare, whole=stored.with_values(wholes))
    assert bare.whole == state.whole and learns > 2


def test_a_new_rhythm_that_is_accepted_is_the_new_normal() -> None:
    moved = START + timedelta(days=LEARNT + 2)
    windows = hours(LEARNT + 16, lambda day, hour: usual(day, hour - 3 * (day >= LEARNT + 2)))
    accepted = Accepted(moved + timedelta(days=8), moved)
    found = alarms(judge(windows, HOURLY, accepted))
    assert found and max(found) <= accepted.at
