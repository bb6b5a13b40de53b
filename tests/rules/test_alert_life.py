"""The life of an alert, and what late labels do to it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import UsageError
from driftline.events import Window
from driftline.rules import (
    AlertMachine,
    AlertSpan,
    AlertState,
    ChangeKind,
    JudgedWindow,
    Rule,
    State,
    Status,
    StoredAlert,
    TransitionKind,
    Verdict,
    alerts_of,
    apply,
    pending,
    reconcile,
)

EPOCH = datetime(2013, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LETTERS = {"o": State.OK, "x": State.BREACH, "-": State.NODATA}

STORIES = st.text(alphabet="ox-.", max_size=40)
"""One letter a day: ok, breach (x), no data (-), no window at all (.)."""


def day(number: int) -> Window:
    return Window(EPOCH + number * DAY, EPOCH + (number + 1) * DAY)


def rule_for(windows: int) -> Rule:
    return Rule("accuracy-low", "accuracy", below=0.75, for_windows=windows)


def judged(story: str, values: list[float] | None = None) -> list[JudgedWindow]:
    ready = []
    for number, letter in enumerate(story):
        if letter == ".":
            continue
        state = LETTERS[letter]
        value = None if state is State.NODATA else (values[number] if values else 0.5)
        verdict = Verdict("accuracy-low", state, value, None, None, 10, 0.75, f"{state} on day {number}")
        ready.append(JudgedWindow(day(number), verdict))
    return ready


def plain(story: str, windows: int) -> list[tuple[int, int, int, int | None]]:
    """(started, fired, last, ended) by day, worked out from the text alone: another road to the same alerts."""
    seen = [(number, letter) for number, letter in enumerate(story) if letter in "ox"]
    spans = []
    for letter, run in itertools.groupby(seen, key=lambda pair: pair[1]):
        days = [number for number, _ in run]
        if letter == "x" and len(days) >= windows:
            after = [number for number, other in seen if number > days[-1]]
            spans.append((days[0], days[windows - 1], days[-1], after[0] if after else None))
    return spans


def days_of(span: AlertSpan) -> tuple[int, int, int, int | None]:
    def number(window: Window) -> int:
        return (window.start - EPOCH).days

    return (
        number(span.started),
        number(span.fired),
        number(span.last),
        number(span.ended) if span.ended else None,
    )


# ---- history --------------------------------------------------------------------------------------------------


@given(STORIES, st.integers(1, 4))
def test_alerts_are_the_long_enough_runs_of_breaches(story: str, windows: int) -> None:
    assert [days_of(span) for span in alerts_of(rule_for(windows), judged(story))] == plain(story, windows)


@given(STORIES, st.integers(1, 4))
def test_the_machine_fires_and_resolves_where_the_history_says(story: str, windows: int) -> None:
    machine, heard = AlertMachine(rule_for(windows)), []
    for one in judged(story):
        machine, transition = machine.step(one.verdict, one.window.start)
        if transition is not None:
            assert (transition.kind is TransitionKind.FIRED) == (machine.state is AlertState.FIRING)
            heard.append((transition.kind, transition.at, transition.since))
    spans = alerts_of(rule_for(windows), judged(story))
    expected = []
    for span in spans:
        expected.append((TransitionKind.FIRED, span.fired.start, span.started.start))
        if span.ended is not None:
            expected.append((TransitionKind.RESOLVED, span.ended.start, span.started.start))
    assert heard == expected
    assert (machine.state is AlertState.FIRING) == any(span.firing for span in spans)
    assert (machine.state is AlertState.PENDING) == (pending(rule_for(windows), judged(story)) is not None)


@given(STORIES, st.integers(1, 4))
def test_windows_without_data_change_nothing(story: str, windows: int) -> None:
    rule = rule_for(windows)
    assert alerts_of(rule, judged(story)) == alerts_of(rule, judged(story.replace("-", ".")))


@given(STORIES, STORIES, st.integers(1, 4))
def test_the_future_does_not_change_when_an_alert_fired(past: str, future: str, windows: int) -> None:
    rule = rule_for(windows)
    then, now = alerts_of(rule, judged(past)), alerts_of(rule, judged(past + future))
    for before, after in zip(then, now, strict=False):
        assert (before.started, before.fired, before.verdict) == (after.started, after.fired, after.verdict)
    assert len(now) >= len(then)


@given(STORIES, st.lists(st.floats(0, 0.75), min_size=40, max_size=40), st.sampled_from(["below", "above"]))
def test_the_worst_is_the_breach_furthest_beyond(story: str, values: list[float], side: str) -> None:
    rule = Rule("r", "m", below=0.75) if side == "below" else Rule("r", "m", above=-1.0)
    windows = judged(story, values)
    for span in alerts_of(rule, windows):
        inside = [
            one.verdict.value
            for one in windows
            if span.window.overlaps(one.window) and one.verdict.state is State.BREACH
        ]
        best = (min if side == "below" else max)(value for value in inside if value is not None)
        assert span.worst.value == best


def test_a_short_streak_is_pending_and_then_forgotten() -> None:
    rule = rule_for(3)
    waiting = pending(rule, judged("ox-x"))
    assert waiting is not None and waiting.window == day(1)
    assert pending(rule, judged("oxxo")) is None
    assert pending(rule, judged("oxxx")) is None  # firing
    assert pending(rule, []) is None


def test_a_resolved_machine_becomes_inactive_or_starts_again() -> None:
    machine = AlertMachine(rule_for(1))
    states = []
    for one in judged("ox-ooxo"):
        machine, _ = machine.step(one.verdict, one.window.start)
        states.append(machine.state.value)
    assert states == ["inactive", "firing", "firing", "resolved", "inactive", "firing", "resolved"]


def test_windows_out_of_order_are_refused() -> None:
    with pytest.raises(UsageError, match="give each window once, in order of time"):
        alerts_of(rule_for(1), judged("xx")[::-1])


# ---- reconciliation -------------------------------------------------------------------------------------------


def stored_from(story: str, windows: int = 1) -> list[StoredAlert]:
    return settle([], alerts_of(rule_for(windows), judged(story)))


def settle(stored: list[StoredAlert], spans: list[AlertSpan]) -> list[StoredAlert]:
    ids = (f"alert-{number}" for number in itertools.count(len(stored) + 1))
    return apply(stored, reconcile(stored, spans), lambda: next(ids))


def kinds(before: str, after: str) -> list[str]:
    changes = reconcile(stored_from(before), alerts_of(rule_for(1), judged(after)))
    return [change.kind.value for change in changes]


ANY_STORED = st.lists(
    st.tuples(st.sampled_from(list(Status)), st.integers(0, 38), st.integers(1, 12), st.booleans()), max_size=8
).map(
    lambda rows: [
        StoredAlert(f"alert-{i}", "accuracy-low" if mine else "other", status, day(first).start, day(first + n).start)
        for i, (status, first, n, mine) in enumerate(rows, 1)
    ]
)  # fmt: skip


@given(ANY_STORED, STORIES, st.integers(1, 3))
def test_reconciling_twice_finds_nothing_to_do(stored: list[StoredAlert], story: str, windows: int) -> None:
    spans = alerts_of(rule_for(windows), judged(story))
    assert reconcile(settle(stored, spans), spans) == []


@given(ANY_STORED, STORIES, st.integers(1, 3))
def test_afterwards_every_span_has_exactly_one_live_alert(stored: list[StoredAlert], story: str, windows: int) -> None:
    spans = alerts_of(rule_for(windows), judged(story))
    after = settle(stored, spans)
    live = [alert for alert in after if alert.status is not Status.CORRECTED]
    assert sorted((alert.window, alert.status is Status.FIRING) for alert in live) == [
        (span.window, span.firing) for span in spans
    ]
    assert {alert.id for alert in stored} <= {alert.id for alert in after}  # nothing is forgotten


@given(ANY_STORED, STORIES)
def test_the_order_of_the_store_does_not_matter(stored: list[StoredAlert], story: str) -> None:
    spans = alerts_of(rule_for(1), judged(story))
    assert reconcile(stored, spans) == reconcile(stored[::-1], spans[::-1])


@given(st.lists(STORIES, min_size=1, max_size=6))
def test_a_life_of_many_corrections_ends_at_what_is_known_last(stories: list[str]) -> None:
    stored: list[StoredAlert] = []
    for story in stories:
        stored = settle(stored, alerts_of(rule_for(1), judged(story)))
    live = [alert.window for alert in stored if alert.status is not Status.CORRECTED]
    assert sorted(live) == [span.window for span in alerts_of(rule_for(1), judged(stories[-1]))]
    assert len({alert.id for alert in stored}) == len(stored)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "oox", ["fired"]),
        ("", "oxo", ["fired", "resolved"]),
        ("oox", "ooxx", ["updated"]),
        ("oox", "ooxo", ["resolved"]),
        ("oox", "ooxxo", ["resolved"]),
        ("oox", "ooo", ["corrected"]),
        ("oox", "oo-", ["corrected"]),
        ("oxo", "oxx", ["reopened"]),
        ("oxo", "xxo", ["updated"]),
        ("xox", "xxx", ["corrected", "reopened"]),
        ("xxx", "xox", ["resolved", "fired"]),
        ("oxo", "oxo", []),
    ],
)
def test_what_late_labels_do(before: str, after: str, expected: list[str]) -> None:
    assert kinds(before, after) == expected


def test_a_corrected_alert_stays_so_until_it_is_true_again() -> None:
    corrected = settle(stored_from("oxo"), [])
    assert [alert.status for alert in corrected] == [Status.CORRECTED]
    assert reconcile(corrected, []) == []
    changes = reconcile(corrected, alerts_of(rule_for(1), judged("oxo")))
    assert [(change.kind, change.alert) for change in changes] == [
        (ChangeKind.REOPENED, "alert-1"),
        (ChangeKind.RESOLVED, "alert-1"),
    ]


def test_changes_say_why() -> None:
    changes = reconcile(stored_from("xox"), alerts_of(rule_for(1), judged("xxx")))
    assert [change.reason for change in changes] == [
        "judged again, its windows belong to another alert that began earlier",
        "judged again, it has not ended: breach on day 0",
    ]
    (gone,) = reconcile(stored_from("oxo"), [])
    assert gone.reason == "judged again by what is known now, its windows are no longer a breach"
    assert gone.span is None


def test_alerts_of_other_rules_are_never_the_same() -> None:
    other = StoredAlert("a", "recall-low", Status.FIRING, day(0).start, day(9).end)
    changes = reconcile([other], alerts_of(rule_for(1), judged("x")))
    assert [change.kind.value for change in changes] == ["corrected", "fired"]


def test_the_reasons_name_windows_in_the_time_zone_of_the_model() -> None:
    spans = alerts_of(rule_for(1), judged("xo"))
    [fired, resolved] = reconcile([], spans, "Asia/Kolkata")
    assert fired.reason == spans[0].verdict.reason
    assert "IST is ok again" in resolved.reason and "UTC" not in resolved.reason
    [moved] = reconcile(stored_from("xo"), alerts_of(rule_for(1), judged("xxo")), "Asia/Kolkata")
    assert moved.reason.startswith("it now reaches from") and moved.reason.count("IST") == 2
