"""Another threshold is tried with the outcome that a service with that threshold has on the same windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.events import WHOLE, Window
from driftline.rules import Coverage, JudgedWindow, Rule, State, alerts_of, interval_confidence, judge
from driftline.rules.backtest import Track
from driftline.rules.trying import tried, try_rule
from driftline.statistics import Measure

START, DAY = datetime(2024, 3, 1, tzinfo=UTC), timedelta(days=1)
SHARES = st.floats(0, 1)
COVERAGES = st.none() | st.builds(Coverage, st.integers(0, 40), st.just(40))


@st.composite
def rules(draw: st.DrawFn) -> tuple[Rule, Rule]:
    """A rule, and the same with another threshold, for other windows, and with another end."""
    side = draw(st.sampled_from(["below", "above"]))
    confidence, samples = draw(st.sampled_from([0.9, 0.95])), draw(st.integers(0, 30))

    def one() -> Rule:
        return Rule(
            "low",
            "accuracy",
            **{side: draw(SHARES)},  # type: ignore[arg-type]
            for_windows=draw(st.integers(1, 3)),
            confidence=confidence,
            min_samples=samples,
            keep_firing_for=draw(st.integers(0, 2)),
        )

    return one(), one()


@st.composite
def measures(draw: st.DrawFn, rule: Rule) -> tuple[Measure, Measure]:
    """What is compared and what is shown: with an interval or without one, or nothing at all."""
    n = draw(st.integers(0, 60))
    level = interval_confidence(rule)
    if draw(st.booleans()):
        value = draw(st.none() | SHARES)
        return Measure("accuracy", value, n=n, confidence=level, problem="" if value is not None else "no rows"), (
            Measure("accuracy", value, n=n)
        )
    low, one, value, other, high = sorted(draw(st.tuples(SHARES, SHARES, SHARES, SHARES, SHARES)))
    return Measure("accuracy", value, one, other, n, confidence=level), Measure("accuracy", value, low, high, n)


@given(st.data())
def test_what_is_tried_is_what_the_rule_itself_says(data: st.DataObject) -> None:
    rule, other = data.draw(rules())
    judged, asked = [], []
    for place in range(data.draw(st.integers(0, 8))):
        (compared, shown), coverage = data.draw(measures(rule)), data.draw(COVERAGES)
        window = Window(START + place * DAY, START + (place + 1) * DAY)
        judged.append(JudgedWindow(window, judge(rule, compared, coverage, shown=shown)))
        asked.append(JudgedWindow(window, judge(other, compared, coverage, shown=shown)))
    assert [tried(other, one.verdict) for one in judged] == [one.verdict for one in asked]
    before, after = try_rule("m", other, [Track(rule, WHOLE, judged)], "UTC")
    for found, by, history in ((before, rule, judged), (after, other, asked)):
        assert [(one.window.start, one.value) for one in found.alerts] == [
            (span.fired.start, span.verdict.value) for span in alerts_of(by, history)
        ]
        assert found.windows == len(judged)


def test_a_rule_that_is_tried_as_it_is_changes_nothing() -> None:
    rule = Rule("low", "accuracy", below=0.75)
    for value in (0.5, 0.75, 0.9):
        known = judge(rule, Measure("accuracy", value, value - 0.1, value + 0.1, 50, confidence=0.9))
        assert tried(rule, known) == known
    assert tried(replace(rule, below=0.55), judge(rule, Measure("accuracy", 0.5, n=9))).state is State.BREACH
