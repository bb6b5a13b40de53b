"""What Prometheus is told to count by is what the life of an alert counts, over any verdicts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.events import Window
from driftline.rules import JudgedWindow, Rule, Verdict, alerts_of
from driftline.rules import State as VerdictState
from driftline.rules.history import AlertMachine, AlertState
from driftline.store.alerts import AlertRow
from driftline.store.database import open_database
from driftline.store.judgements import Judgement
from driftline.store.state import State
from driftline.views.metrics import breaches_of

NOW, HOUR = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)
VALUES = {VerdictState.OK: 0.9, VerdictState.BREACH: 0.5, VerdictState.NODATA: None}


def firing(rule: Rule, judged: list[JudgedWindow]) -> list[AlertRow]:
    """The alert that goes on, as it is stored."""
    return [
        AlertRow(
            id="a",
            model="m",
            rule=rule.name,
            measure=rule.measure,
            severity=rule.severity.value,
            title=rule.title,
            status="firing",
            started_at=span.started.start,
            last_end=span.last.end,
            window_start=span.fired.start,
            window_end=span.fired.end,
            value=0.5,
            low=None,
            high=None,
            n=9,
            threshold=rule.threshold,
            worst=0.5,
            findings=b"null",
            fired_at=NOW,
            ended_at=None,
        )
        for span in alerts_of(rule, judged)
        if span.firing
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(VerdictState), max_size=12), st.integers(1, 3), st.integers(0, 2))
def test_breaches_are_counted_as_alerts_count_them(states: list[VerdictState], windows: int, keep: int) -> None:
    rule = Rule("low", "accuracy", below=0.75, for_windows=windows, keep_firing_for=keep)
    state, machine, judged = State(open_database("sqlite://")), AlertMachine(rule), list[JudgedWindow]()
    with state.work() as work:
        for place, one in enumerate(states):
            start, value = NOW + place * HOUR, VALUES[one]
            verdict = Verdict(rule.name, one, value, None, None, 9, rule.threshold, "")
            judged.append(JudgedWindow(Window(start, start + HOUR), verdict))
            machine, _ = machine.step(verdict, start)
            ends = (None, None, 9, rule.threshold, "", True)
            work.judgements.put(Judgement("m", rule.name, start, start + HOUR, NOW, one.value, value, *ends))
        counted = breaches_of(work, "m", rule, firing(rule, judged))
    assert counted == machine.breaches
    assert (counted >= rule.for_windows) is (machine.state is AlertState.FIRING)
