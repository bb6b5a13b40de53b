"""A backtest says what the alert machine says: its alerts, its letters, its delays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.events import WHOLE, Window
from driftline.rules import JudgedWindow, Rule, State, Verdict
from driftline.rules.backtest import Track, backtest_of
from driftline.rules.history import alerts_of

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

rules = st.builds(
    Rule,
    st.just("low"),
    st.just("accuracy"),
    below=st.just(0.5),
    for_windows=st.integers(1, 3),
    keep_firing_for=st.integers(0, 2),
)
histories = st.lists(st.sampled_from("ob?"), max_size=20)


def judged(rule: Rule, letters: list[str]) -> list[JudgedWindow]:
    states = {"o": (State.OK, 0.9), "b": (State.BREACH, 0.1), "?": (State.NODATA, None)}
    found = []
    for day, letter in enumerate(letters):
        state, value = states[letter]
        window = Window(BEGIN + day * DAY, BEGIN + (day + 1) * DAY)
        found.append(JudgedWindow(window, Verdict(rule.name, state, value, None, None, 9, 0.5, "")))
    return found


@given(rules, histories)
def test_the_alerts_of_a_rule_are_those_of_the_same_verdicts(rule: Rule, letters: list[str]) -> None:
    track = judged(rule, letters)
    found = backtest_of("m", [one.window for one in track], [Track(rule, WHOLE, track)])
    spans = alerts_of(rule, track)
    assert [(one.window.start, one.until) for one in found.alerts] == [
        (span.fired.start, span.ended.end if span.ended else None) for span in spans
    ]
    [record] = found.rules
    assert len(record.states) == len(letters) and record.judged == len(letters) - letters.count("?")
    firing = {
        place
        for place, one in enumerate(track)
        for span in spans
        if span.fired.start <= one.window.start and (span.ended is None or one.window.start < span.ended.start)
    }
    assert {place for place, letter in enumerate(record.states) if letter == "A"} == firing
    expected = None if not letters else len(spans) * 365.25 / len(letters)
    assert found.per_year == (expected if expected is None else pytest.approx(expected, rel=1e-12))


@given(rules, histories.filter(bool), st.integers(0, 25))
def test_the_delay_counts_windows_from_the_changed_one(rule: Rule, letters: list[str], day: int) -> None:
    track, changed = judged(rule, letters), BEGIN + day * DAY + timedelta(hours=5)
    found = backtest_of("m", [one.window for one in track], [Track(rule, WHOLE, track)], changed=changed)
    assert found.changed is not None
    places = [int((one.fired.start - BEGIN) / DAY) for one in alerts_of(rule, track)]
    assert found.changed.delay_windows == min((place - day + 1 for place in places if place >= day), default=None)
    assert found.rules[0].delay_windows == found.changed.delay_windows
