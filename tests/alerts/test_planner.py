"""Who is told of what: silences, inhibition, acknowledgements and repeats, through random histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from driftline.alerts.channels.alertmanager import ALIVE_FOR, alert_of
from driftline.alerts.channels.wording import sentences
from driftline.alerts.message import RECENT_WINDOWS, Event, Notice, message_of
from driftline.alerts.options import NotifyConfig, NotifySection
from driftline.alerts.planner import HELD_AT_MOST, HELD_FOR, LIVE_WINDOWS, NotificationPlanner, link
from driftline.alerts.stages import due, explained_because, is_told, matches, rank, silenced_because, wanted
from driftline.alerts.view import alert_view
from driftline.events import Segment, Slice
from driftline.monitoring.alerting import AlertEvent
from driftline.rules import ChangeKind, Severity
from driftline.store.alerts import AlertRow, TransitionRow
from driftline.store.database import open_database
from driftline.store.judgements import Judgement
from driftline.store.outbox import Outbox, SilenceRow
from driftline.store.state import State
from tests.support.alert_rows import alert_row

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
GOING_ON = {Event.FIRED, Event.REOPENED, Event.REPEATED, Event.CHANGED}


def alert(id: str = "a", **changes: Any) -> AlertRow:
    return alert_row(id, NOW - HOUR, NOW, **{"low": 0.4, "high": 0.6, "n": 60, **changes})


WINTER, SUMMER = (Slice(segment=Segment("season", name)) for name in ("winter", "summer"))


def test_a_segment_is_silenced_by_itself_and_explains_nothing_but_itself() -> None:
    winter, summer, whole = alert("w", slice=WINTER), alert("s", slice=SUMMER), alert("a")
    match = {"rule": "accuracy-low", "segment": "season=win*"}
    assert [bool(silenced_because(one, [silence(match)], NOW)) for one in (winter, summer, whole)] == [
        True,
        False,
        False,
    ]
    assert silenced_because(alert(slice=Slice("v2")), [silence({"version": "v2"})], NOW)
    drift = alert("d", measure="prediction_drift", severity="warning")
    lesser = alert("l", slice=SUMMER, severity="warning")
    assert explained_because(drift, [winter]) == explained_because(lesser, [winter]) == ""
    assert explained_because(lesser, [summer]) == "accuracy-low (season = summer) is firing too, and explains it"
    assert explained_because(lesser, [whole]) == "accuracy-low is firing too, and explains it"


def test_only_alerts_of_a_part_have_its_label_for_alertmanager() -> None:
    def labels(row: AlertRow) -> dict[str, str]:
        view = alert_view(row, [], (), {})
        found: Any = alert_of(Notice(Event.FIRED, "k", NOW, "", view), NOW)["labels"]
        return {name: found[name] for name in ("segment", "version") if name in found}

    assert labels(alert()) == labels(alert(slice=Slice(""))) == {}
    assert labels(alert(slice=WINTER)) == {"segment": "season=winter"}
    assert labels(alert(slice=Slice("v2"))) == {"version": "v2"}


def silence(match: Mapping[str, str], start: timedelta = -HOUR, end: timedelta = HOUR) -> SilenceRow:
    return SilenceRow("s", match, NOW + start, NOW + end, "ann", "deploying", NOW)


def receiver(name: str, **changes: Any) -> NotifyConfig:
    section = NotifySection(webhook="http://127.0.0.1:9/")
    return replace(NotifyConfig(name, "webhook", section, tuple(Severity), (), None), **changes)


# ---- stages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "silent"),
    [
        ({"model": "churn"}, True),
        ({"model": "ch*", "severity": "page"}, True),
        ({"model": "CHURN"}, False),
        ({"model": "ch*", "severity": "info"}, False),
        ({"id": "a"}, True),
        ({"rule": "accuracy-???"}, True),
        ({"measure": "[a]*"}, True),
    ],
)
def test_a_silence_matches_all_of_its_patterns(match: dict[str, str], silent: bool) -> None:
    assert matches(match, alert()) is silent
    assert bool(silenced_because(alert(), [silence(match)], NOW)) is silent


def test_a_silence_is_silent_from_its_start_until_its_end_and_not_at_its_end() -> None:
    one = silence({"model": "*"}, timedelta(0), HOUR)
    told = [not silenced_because(alert(), [one], NOW + at) for at in (-MINUTE, timedelta(0), HOUR - MINUTE, HOUR)]
    assert told == [True, False, False, True]
    assert silenced_because(alert(), [one], NOW) == "silenced by ann until 2026-01-01 01:00 UTC: deploying"


@pytest.mark.parametrize(
    ("measure", "severity", "other_measure", "other_severity", "mutes"),
    [
        ("label_coverage", "page", "drifted_features_ratio", "page", True),  # a fault of the pipeline over drift
        ("missing_ratio", "info", "drifted_features_ratio", "page", False),  # a note does not take the place of a page
        ("hours_since_last_event", "warning", "prediction_drift", "warning", True),
        ("accuracy", "page", "label_drift", "info", True),  # performance over its drift
        ("accuracy", "warning", "label_drift", "page", False),
        ("accuracy", "page", "accuracy", "warning", True),  # the graver over the lesser, of one measure
        ("accuracy", "warning", "accuracy", "page", False),
        ("accuracy", "page", "recall", "warning", False),
        ("label_coverage", "page", "accuracy", "warning", False),  # whether the labels are right is another question
        ("prediction_drift", "page", "accuracy", "warning", False),
        ("accuracy", "page", "accuracy", "page", False),
        ("accuracy", "page", "chance", "warning", False),  # an alarm of the detector may be about another fault
        ("label_coverage", "page", "chance", "warning", False),
        ("chance", "page", "prediction_drift", "warning", False),
    ],
)
def test_what_explains_another_alert_mutes_it(
    measure: str, severity: str, other_measure: str, other_severity: str, mutes: bool
) -> None:
    one = alert("one", measure=measure, severity=severity, rule="one")
    other = alert("other", measure=other_measure, severity=other_severity, rule="other")
    assert bool(explained_because(other, [one, other])) is mutes
    assert not explained_because(other, [replace(one, model="fraud"), other])
    assert not explained_because(other, [])  # nobody was notified of it
    if mutes:  # so that who is told in this order knows of what explains before of what is explained
        assert rank(one) < rank(other)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["label_coverage", "accuracy", "recall", "prediction_drift", "drifted_features_ratio"]),
            st.sampled_from(list(Severity)),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_of_alerts_that_fire_together_one_is_always_told(kinds: list[tuple[str, Severity]]) -> None:
    firing = [
        alert(str(number), measure=measure, severity=severity.value, rule=str(number))
        for number, (measure, severity) in enumerate(kinds)
    ]
    assert any(not explained_because(one, firing) for one in firing)


def test_nobody_hears_of_the_end_of_what_they_were_not_told() -> None:
    assert not is_told(Event.RESOLVED, None, muted=False)
    assert not is_told(Event.CORRECTED, None, muted=False)
    assert is_told(Event.RESOLVED, Event.FIRED, muted=True)
    assert is_told(Event.CORRECTED, Event.RESOLVED, muted=True)
    assert not is_told(Event.FIRED, None, muted=True)


@given(st.sampled_from([None, *Event]), st.booleans(), st.booleans(), st.integers(0, 120), st.sampled_from([None, 60]))
def test_what_is_due_is_never_due_twice(
    told: Event | None, muted: bool, acknowledged: bool, minutes: int, repeat: int | None
) -> None:
    every = None if repeat is None else repeat * MINUTE
    at = NOW - minutes * MINUTE
    event = due(told, at, NOW, muted=muted, acknowledged=acknowledged, repeat=every)
    if event is not None:
        assert not muted
        assert due(event, NOW, NOW, muted=False, acknowledged=False, repeat=every) is None


def test_links_lead_to_the_alert_on_the_page() -> None:
    assert link("", "a1") == ""
    assert link("http://h:8000", "a1") == "http://h:8000/alerts/a1"


# ---- who was notified -----------------------------------------------------------------------------------------

BROKEN = alert("broken", rule="missing", measure="missing_ratio", severity="page")
MOVED = alert("moved", rule="drift", measure="drifted_features_ratio", severity="page")


class Story:
    """Alerts and what each channel was told of them, as ``(event, alert)``."""

    def __init__(self, *receivers: NotifyConfig) -> None:
        self.state, self.now = State(open_database("sqlite://")), NOW
        self.receivers = receivers
        self.announcer = NotificationPlanner(receivers, lambda: "", lambda: None)

    def happen(self, *events: tuple[ChangeKind, AlertRow]) -> None:
        with self.state.work() as work:
            for _, row in events:
                work.alerts.put(row)
            said = [AlertEvent(kind, row, kind.value) for kind, row in events]
            self.announcer.announce(work, said, self.now)

    def silence(self, **match: str) -> None:
        with self.state.work() as work:
            Outbox(work.connection).put_silence(silence(match))

    def pass_time(self, by: timedelta = MINUTE) -> None:
        self.now += by
        self.announcer.tick(self.state, self.now)

    def give_up(self, channel: str, state: str) -> None:
        with self.state.work() as work:
            outbox = Outbox(work.connection)
            outbox.settle([row.id for row in outbox.waiting(channel, 100)], state=state)

    def notices(self, channel: str) -> list[Notice]:
        with self.state.read() as read:
            rows = Outbox(read.connection).waiting(channel, 100_000)
        return [msgspec.json.decode(row.body, type=Notice) for row in rows]

    def told(self, channel: str) -> list[tuple[str, str]]:
        return [(notice.event.value, notice.alert.id) for notice in self.notices(channel)]

    def muted(self, id: str) -> str:
        with self.state.read() as read:
            row = read.alerts.get(id)
        assert row is not None
        return row.muted


@pytest.mark.parametrize("order", [(BROKEN, MOVED), (MOVED, BROKEN)])
def test_of_what_comes_together_the_explanation_is_told_whatever_the_order(order: tuple[AlertRow, ...]) -> None:
    story = Story(receiver("team"))
    story.happen(*((ChangeKind.FIRED, row) for row in order))
    story.pass_time()
    assert story.told("team") == [("fired", "broken")]
    assert story.muted("moved") == "missing is firing too, and explains it"


def test_who_was_not_notified_of_the_explanation_is_told_of_what_it_explains() -> None:
    story = Story(receiver("team"), receiver("on-call", severity=(Severity.PAGE,)))
    warned, note = replace(MOVED, severity="warning"), replace(BROKEN, severity="info")
    story.happen((ChangeKind.FIRED, note), (ChangeKind.FIRED, MOVED))  # a note explains no page
    assert story.told("on-call") == [("fired", "moved")]
    assert story.told("team") == [("fired", "broken"), ("fired", "moved")]
    story = Story(receiver("team"), receiver("warnings", severity=(Severity.WARNING,)))
    story.happen((ChangeKind.FIRED, BROKEN), (ChangeKind.FIRED, warned))
    story.pass_time()
    assert story.told("team") == [("fired", "broken")]
    assert story.told("warnings") == [("fired", "moved")]
    assert story.muted("moved") == ""  # somebody is told of it


def test_a_silenced_alert_spares_nobody_what_it_explains() -> None:
    story = Story(receiver("team"))
    story.silence(rule="missing")
    story.happen((ChangeKind.FIRED, BROKEN), (ChangeKind.FIRED, MOVED))
    story.pass_time()
    assert story.told("team") == [("fired", "moved")]
    story.pass_time(2 * HOUR)  # the silence is over: both are known, and neither is told twice
    assert story.told("team") == [("fired", "moved"), ("fired", "broken")]


@pytest.mark.parametrize("state", ["refused", "expired"])
def test_a_notice_that_never_arrived_spares_nobody_what_it_explains(state: str) -> None:
    story = Story(receiver("team"))
    story.happen((ChangeKind.FIRED, BROKEN), (ChangeKind.FIRED, MOVED))
    story.pass_time()
    assert story.told("team") == [("fired", "broken")]
    story.give_up("team", state)
    story.pass_time()
    assert story.told("team") == [("fired", "moved")]
    assert story.muted("moved") == ""


def test_a_later_notice_that_arrived_makes_up_for_one_that_did_not() -> None:
    story = Story(receiver("team", repeat=HOUR))
    story.happen((ChangeKind.FIRED, BROKEN))
    story.give_up("team", "expired")
    story.pass_time(HOUR)
    story.give_up("team", "delivered")
    story.happen((ChangeKind.FIRED, MOVED))
    assert story.told("team") == []


def test_when_the_explanation_ends_what_it_explained_is_told() -> None:
    story = Story(receiver("team"))
    story.happen((ChangeKind.FIRED, BROKEN), (ChangeKind.FIRED, MOVED))
    story.happen((ChangeKind.RESOLVED, replace(BROKEN, status="resolved", ended_at=NOW)))
    story.pass_time()
    assert story.told("team") == [("fired", "broken"), ("resolved", "broken"), ("fired", "moved")]


# ---- what is known now ----------------------------------------------------------------------------------------


def judged(story: Story, value: float | None, hours: int = 0) -> None:
    """A window that begins so many hours after the one on which `alert` fires, judged (again)."""
    start = NOW - HOUR + hours * HOUR
    state, reason = ("nodata", "few") if value is None else ("breach", "low")
    ends = (None, None, 0) if value is None else (value - 0.1, value + 0.1, 60)
    with story.state.work() as work:
        work.judgements.put(
            Judgement("churn", "accuracy-low", start, start + HOUR, NOW, state, value, *ends, 0.75, reason, True)
        )


def test_a_repeat_has_the_newest_numbers_also_where_labels_have_changed_them() -> None:
    story = Story(receiver("team", repeat=HOUR))
    judged(story, 0.5)
    story.happen((ChangeKind.FIRED, alert("a")))
    assert story.notices("team")[0].alert.latest is None
    judged(story, 0.6)  # late labels: still a breach
    judged(story, 0.41, hours=1)
    judged(story, None, hours=2)
    story.pass_time(HOUR)
    fired, repeated = story.notices("team")
    assert (fired.alert.value, fired.alert.value_now, fired.event) == (0.5, 0.5, Event.FIRED)
    assert (repeated.alert.value, repeated.alert.value_now, repeated.event) == (0.5, 0.6, Event.REPEATED)
    assert repeated.alert.latest is not None
    assert (repeated.alert.latest.value, repeated.alert.latest.window.start) == (0.41, NOW)
    assert [point.value for point in repeated.recent] == [0.6, 0.41, None]


def test_what_is_told_is_read_from_a_bounded_number_of_windows() -> None:
    story = Story(receiver("team"))
    for hours in range(3 * RECENT_WINDOWS):
        judged(story, 0.5 + hours / 1000, hours)
    story.happen((ChangeKind.FIRED, alert("a")))
    [notice] = story.notices("team")
    assert [point.value for point in notice.recent] == [0.5 + hours / 1000 for hours in range(120, 180)]
    assert notice.alert.newest is not None
    assert (notice.alert.value_now, notice.alert.newest.value) == (0.5, 0.679)


def test_a_correction_has_the_value_that_is_known_now() -> None:
    story = Story(receiver("team"))
    judged(story, 0.5)
    story.happen((ChangeKind.FIRED, alert("a")))
    judged(story, 0.9)
    story.happen((ChangeKind.CORRECTED, alert("a", status="corrected", ended_at=NOW)))
    assert [notice.alert.value_now for notice in story.notices("team")] == [0.5, 0.9]


def test_a_message_has_all_steps_of_an_alert_and_its_own_as_the_last() -> None:
    story = Story(receiver("team", repeat=HOUR))
    with story.state.work() as work:
        for kind, reason in (("fired", "because"), ("updated", "to one"), ("updated", "to two")):
            work.alerts.add_transition(TransitionRow("a", NOW, kind, reason))
    story.happen((ChangeKind.FIRED, alert("a")))
    story.pass_time(HOUR)
    steps = [[step.kind for step in notice.alert.history] for notice in story.notices("team")]
    assert steps == [["fired", "updated", "fired"], ["fired", "updated", "repeated"]]
    assert story.notices("team")[0].alert.history[1].reason == "to two"  # it grows with each window


# ---- when a rule is changed -----------------------------------------------------------------------------------


def change(story: Story, before: AlertRow, after: AlertRow, reason: str = "the rule was changed") -> None:
    with story.state.work() as work:
        work.alerts.put(after)
        story.announcer.announce(work, [AlertEvent(ChangeKind.CHANGED, after, reason, before)], story.now)


def test_who_knows_of_an_alert_hears_that_its_rule_was_changed_and_others_that_it_fires_or_is_over() -> None:
    pages, notes = receiver("pages", severity=(Severity.PAGE,)), receiver("notes", severity=(Severity.INFO,))
    story = Story(receiver("team"), pages, notes)
    story.happen((ChangeKind.FIRED, alert("a")))
    change(story, alert("a"), alert("a", severity="info"))
    story.pass_time()
    assert story.told("team") == [("fired", "a"), ("changed", "a")]
    assert story.told("pages") == [("fired", "a"), ("resolved", "a")]
    assert story.told("notes") == [("fired", "a")]
    assert [(notice.alert.severity, notice.alert.status) for notice in story.notices("pages")] == [
        ("page", "firing"),
        ("page", "resolved"),
    ]
    assert {notice.reason for channel in ("team", "pages") for notice in story.notices(channel)[1:]} == {
        "the rule was changed"
    }
    story.happen((ChangeKind.RESOLVED, alert("a", severity="info", status="resolved", ended_at=NOW)))
    assert story.told("pages") == [("fired", "a"), ("resolved", "a")]
    assert story.told("team")[-1] == story.told("notes")[-1] == ("resolved", "a")


def test_where_severity_is_part_of_its_name_the_old_alert_ends_and_the_new_one_begins() -> None:
    story = Story(receiver("am", kind="alertmanager", digest=False))
    story.happen((ChangeKind.FIRED, alert("a")))
    change(story, alert("a"), alert("a", severity="info"))
    story.pass_time()
    assert [(notice.event.value, notice.alert.severity) for notice in story.notices("am")] == [
        ("fired", "page"),
        ("resolved", "page"),
        ("reopened", "info"),
    ]
    labels = [alert_of(notice, NOW)["labels"] for notice in story.notices("am")]
    assert labels[0] == labels[1] != labels[2]


def test_a_change_of_what_is_silenced_is_told_to_nobody() -> None:
    story = Story(receiver("team"))
    story.happen((ChangeKind.FIRED, alert("a")))
    story.silence(model="churn")
    change(story, alert("a"), alert("a", threshold=0.8))
    assert story.told("team") == [("fired", "a")]


def test_a_change_says_what_was_changed_in_every_text() -> None:
    story = Story(receiver("team"))
    story.happen((ChangeKind.FIRED, alert("a")))
    change(story, alert("a"), alert("a", threshold=0.8), "the rule was changed: accuracy < 0.75 → accuracy < 0.8")
    message = message_of(story.notices("team")[1:], "key")
    assert message.title == "churn: ⚠️ Alert, changed: Model accuracy below threshold!"
    assert message.text.splitlines()[2:] == [
        "accuracy 0.5 [0.4, 0.6], n = 60, threshold 0.8",
        "the rule was changed: accuracy < 0.75 → accuracy < 0.8",
    ]
    assert sentences(message.notices[0])[0] == "the rule was changed: accuracy < 0.75 → accuracy < 0.8"


# ---- receivers that forget ------------------------------------------------------------------------------------

FORGETS = receiver("am", kind="alertmanager", digest=False)


def kept(story: Story) -> dict[str, tuple[str, str]]:
    """By alert: whether it fires, and why nobody is to be called for it."""
    found = story.announcer.notices_to_keep(story.state, FORGETS, story.now)
    return {notice.alert.id: (notice.alert.status, notice.alert.muted) for notice in found}


def test_what_forgets_hears_of_all_that_fires_and_of_what_is_muted_why() -> None:
    story = Story(FORGETS)
    story.happen((ChangeKind.FIRED, BROKEN), (ChangeKind.FIRED, MOVED), (ChangeKind.FIRED, alert("other", model="m")))
    story.silence(model="m")
    assert kept(story) == {
        "broken": ("firing", ""),
        "moved": ("firing", "missing is firing too, and explains it"),
        "other": ("firing", "silenced by ann until 2026-01-01 01:00 UTC: deploying"),
    }


def test_what_is_about_to_be_told_comes_by_its_own_message_first() -> None:
    story = Story(FORGETS)
    load(story, AlertEvent(ChangeKind.FIRED, alert("a"), "because"))
    assert kept(story) == {}
    story.pass_time()
    assert kept(story) == {"a": ("firing", "")}


def test_what_ended_while_it_was_muted_is_over_there_too_but_history_is_none_of_its() -> None:
    story = Story(FORGETS)
    story.silence(model="churn")
    story.happen((ChangeKind.FIRED, alert("a")))
    load(story, *over(alert("b", model="fraud")))
    story.pass_time(2 * MINUTE)
    story.happen((ChangeKind.RESOLVED, alert("a", status="resolved", ended_at=story.now)))
    assert kept(story) == {"a": ("resolved", "")}
    story.pass_time(2 * ALIVE_FOR)
    assert kept(story) == {}


# ---- what is over when it is first seen -----------------------------------------------------------------------


def over(row: AlertRow, start: int = 0) -> list[AlertEvent]:
    """An alert that began and ended in one pass, an hour each, ``start`` hours after the beginning."""
    at = NOW - 100 * HOUR + start * HOUR
    ended = replace(row, status="resolved", ended_at=NOW, started_at=at, last_end=at + HOUR)
    return [AlertEvent(kind, ended, "because") for kind in (ChangeKind.FIRED, ChangeKind.RESOLVED)]


def load(story: Story, *events: AlertEvent, windows: int = 9) -> None:
    for model in {event.alert.model for event in events}:
        story.announcer.count(model, windows, story.now)
    with story.state.work() as work:
        for event in events:
            work.alerts.put(event.alert)
            work.alerts.add_transition(TransitionRow(event.alert.id, story.now, event.kind.value, event.reason))
        story.announcer.announce(work, events, story.now)


PAGER = receiver("pager", digest=False)


def test_history_is_told_once_as_over_and_pages_nobody() -> None:
    story = Story(receiver("team"), PAGER)
    events = [event for at in range(3) for event in over(alert(f"a{at}"), at)]
    load(story, *events)
    assert not story.announcer.holding  # nothing that fires
    story.pass_time()
    assert story.told("team") == [("over", "a0"), ("over", "a1"), ("over", "a2")]
    assert story.told("pager") == []
    assert {notice.reason for notice in story.notices("team")} == {"because"}


def test_a_silence_holds_for_history_too_and_stands_in_its_life() -> None:
    story = Story(receiver("team"), PAGER)
    story.silence(model="churn")
    load(story, *over(alert("a")), *over(alert("b", model="fraud")))
    story.pass_time(3 * HOUR)
    assert story.told("team") == [("over", "b")]
    with story.state.read() as read:
        [*_, step] = read.alerts.transitions(["a"])["a"]
    assert (step.kind, step.reason) == ("muted", "silenced by ann until 2026-01-01 01:00 UTC: deploying")


def test_of_history_only_what_explains_the_rest_of_its_time_is_told() -> None:
    story = Story(receiver("team"), receiver("warnings", severity=(Severity.WARNING,)))
    warned = replace(MOVED, severity="warning")
    load(story, *over(warned, 1), *over(BROKEN, 1), *over(replace(warned, id="other time"), 5))
    assert story.told("team") == [("over", "broken"), ("over", "other time")]
    assert story.told("warnings") == [("over", "moved"), ("over", "other time")]


def test_what_goes_on_after_history_is_told_as_soon_as_no_more_of_it_comes() -> None:
    story = Story(receiver("team"), PAGER)
    goes_on = AlertEvent(ChangeKind.FIRED, alert("b"), "accuracy is 0.5")
    load(story, *over(alert("a")), goes_on)
    with story.state.work() as work:
        work.alerts.add_transition(TransitionRow("b", NOW, "updated", "it now reaches further"))
    story.pass_time(HELD_FOR / 2)
    assert story.announcer.holding
    assert story.told("pager") == []
    story.pass_time(HELD_FOR)
    assert not story.announcer.holding
    [notice] = story.notices("pager")
    assert (notice.event, notice.alert.id, notice.reason) == (Event.FIRED, "b", "accuracy is 0.5")


def test_what_the_next_part_of_history_ends_pages_nobody() -> None:
    story = Story(receiver("team"), PAGER)
    load(story, AlertEvent(ChangeKind.FIRED, alert("a"), "because"))
    load(story, AlertEvent(ChangeKind.RESOLVED, alert("a", status="resolved", ended_at=NOW), "because"))
    story.pass_time(HOUR)
    assert story.told("team") == [("over", "a")]
    assert story.told("pager") == []


def test_history_without_end_holds_nothing_back_for_long() -> None:
    story = Story(PAGER)
    load(story, AlertEvent(ChangeKind.FIRED, alert("a"), "because"))
    while story.now < NOW + HELD_AT_MOST + HELD_FOR:
        load(story, *over(alert(f"at {story.now}")))
        story.pass_time(HELD_FOR / 2)
    assert story.told("pager") == [("fired", "a")]


def test_as_time_goes_by_nothing_is_held_back() -> None:
    story = Story(PAGER)
    load(story, AlertEvent(ChangeKind.FIRED, alert("a"), "because"), windows=LIVE_WINDOWS)
    assert story.told("pager") == [("fired", "a")]


def test_history_that_comes_day_by_day_is_history_too() -> None:
    story = Story(receiver("team"), PAGER)
    for day in range(39):
        going_on = alert(f"a{day // 3}")
        ended = replace(going_on, status="resolved", ended_at=story.now)
        fine = list[AlertEvent]()
        fired, resolved = (
            AlertEvent(kind, row, "because")
            for kind, row in ((ChangeKind.FIRED, going_on), (ChangeKind.RESOLVED, ended))
        )
        events = (fine, [fired], [resolved])[day % 3]
        story.announcer.count("churn", 1, story.now)
        with story.state.work() as work:
            for event in events:
                work.alerts.put(event.alert)
            story.announcer.announce(work, events, story.now)
        story.pass_time(HELD_FOR / 4)
    story.pass_time(HELD_FOR)
    first = [("fired", "a0"), ("resolved", "a0")]  # before it could be told from what time brings
    assert story.told("team") == first + [("over", f"a{number}") for number in range(1, 13)]
    assert story.told("pager") == first


def test_who_heard_that_something_was_over_hears_that_it_goes_on_or_was_not_true() -> None:
    story = Story(receiver("team"))
    load(story, *over(alert("a")), *over(alert("b")))
    story.pass_time()
    story.happen(
        (ChangeKind.REOPENED, alert("a")), (ChangeKind.CORRECTED, alert("b", status="corrected", ended_at=NOW))
    )
    assert story.told("team")[2:] == [("reopened", "a"), ("corrected", "b")]


def test_the_digest_has_the_most_severe_first_and_is_short() -> None:
    story = Story(receiver("team"))
    rows = [alert(f"a{at:02}", severity="page" if at == 17 else "warning") for at in range(30)]
    load(story, *(event for at, row in enumerate(rows) for event in over(row, at)))
    message = message_of(story.notices("team"), "key")
    assert message.title == "churn: ☑️ Over: 30 alerts began and ended before they were seen"
    first, page, *_, last = message.text.splitlines()
    assert (first, last) == (message.title, "and 10 more")
    assert page == ("accuracy-low (page): 2025-12-28 13:00 to 14:00 UTC: accuracy 0.5 [0.4, 0.6], threshold 0.75")
    assert message.alert.id == "a17"
    assert len(message.notices) == 30
    [one] = [message_of([notice], "key") for notice in story.notices("team")[:1]]
    assert one.text.splitlines()[0] == one.title == "churn: ☑️ Over: Model accuracy below threshold!"


# ---- histories ------------------------------------------------------------------------------------------------

RECEIVERS = (
    receiver("all", repeat=HOUR),
    receiver("pages", severity=(Severity.PAGE,)),
    receiver("others", models=("fraud*",)),
    receiver("warnings", severity=(Severity.WARNING,)),
)
RULES = [
    ("accuracy", "page"),
    ("accuracy", "warning"),
    ("label_coverage", "warning"),
    ("prediction_drift", "warning"),
    ("drifted_features_ratio", "page"),
]
PAIRS = [(model, number) for model in ("churn", "fraud") for number in range(len(RULES))]


class Histories(RuleBasedStateMachine):
    """Alerts come and go, people silence and acknowledge, time goes by; the outbox is what was said."""

    @initialize()
    def start(self) -> None:
        self.state, self.now = State(open_database("sqlite://")), NOW
        self.announcer = NotificationPlanner(RECEIVERS, lambda: "http://127.0.0.1:8000", lambda: None)
        self.alerts: dict[tuple[str, int], AlertRow] = {}
        self.number = 0

    def happen(self, kind: ChangeKind, row: AlertRow) -> None:
        with self.state.work() as work:
            work.alerts.put(row)
            self.announcer.announce(work, [AlertEvent(kind, row, kind.value)], self.now)
            stored = work.alerts.get(row.id)
        assert stored is not None
        self.alerts[row.model, int(row.rule)] = stored

    @rule(pair=st.sampled_from(PAIRS))
    def fire(self, pair: tuple[str, int]) -> None:
        model, number = pair
        before = self.alerts.get(pair)
        if before is not None and before.status == "firing":
            return
        if before is not None and before.status == "corrected":
            self.happen(ChangeKind.REOPENED, replace(before, status="firing", ended_at=None))
            return
        measure, severity = RULES[number]
        self.number += 1
        row = alert(
            f"{model}-{number}-{self.number}", model=model, rule=str(number), measure=measure, severity=severity
        )
        self.happen(ChangeKind.FIRED, row)

    @rule(pair=st.sampled_from(PAIRS), corrected=st.booleans())
    def end(self, pair: tuple[str, int], corrected: bool) -> None:
        row = self.alerts.get(pair)
        if row is None or row.status == "corrected" or (row.status == "resolved" and not corrected):
            return
        kind = ChangeKind.CORRECTED if corrected else ChangeKind.RESOLVED
        self.happen(kind, replace(row, status=kind.value, ended_at=self.now))

    @rule(pair=st.sampled_from(PAIRS))
    def take_on(self, pair: tuple[str, int]) -> None:
        row = self.alerts.get(pair)
        if row is not None and row.status == "firing":
            with self.state.work() as work:
                stored = work.alerts.get(row.id)
                assert stored is not None
                row = replace(stored, acknowledged_by="ann", acknowledged_at=self.now)
                work.alerts.put(row)
            self.alerts[pair] = row

    @rule(match=st.sampled_from([{"model": "churn"}, {"severity": "page"}, {"model": "*"}]), hours=st.integers(1, 3))
    def silence(self, match: dict[str, str], hours: int) -> None:
        with self.state.work() as work:
            self.number += 1
            row = SilenceRow(str(self.number), match, self.now, self.now + hours * HOUR, "ann", "why", self.now)
            Outbox(work.connection).put_silence(row)

    @rule(minutes=st.sampled_from([0, 20, 61, 200]))
    def time_goes_by(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        self.announcer.tick(self.state, self.now)
        with self.state.read() as read:
            for pair, row in self.alerts.items():
                stored = read.alerts.get(row.id)
                assert stored is not None
                self.alerts[pair] = stored
            told = Outbox(read.connection).told(row.id for row in self.alerts.values())
            silences = Outbox(read.connection).silences()
        firing = [row for row in self.alerts.values() if row.status == "firing"]
        for row in firing:
            others = [one for one in firing if one.model == row.model]
            silenced = silenced_because(row, silences, self.now)
            for one in RECEIVERS:
                known = {id for (channel, id), last in told.items() if channel == one.name and last.event in GOING_ON}
                if not wanted(row, one.severity, one.models):
                    assert row.id not in known
                    continue
                # Whoever wants it knows of it, or of what explains it, or somebody has said that it is not to be told.
                explained = explained_because(row, [other for other in others if other.id in known])
                assert row.id in known or silenced or explained
                assert not row.muted or silenced or explained
                if one.repeat and row.id in known and not (row.acknowledged_by or silenced or explained):
                    assert self.now - told[one.name, row.id].at < one.repeat

    def said(self) -> list[tuple[str, Notice]]:
        with self.state.read() as read:
            outbox = Outbox(read.connection)
            rows = [row for one in RECEIVERS for row in outbox.waiting(one.name, 100_000)]
        return [(row.channel, msgspec.json.decode(row.body, type=Notice)) for row in rows]

    @invariant()
    def what_was_said_makes_sense(self) -> None:
        last: dict[tuple[str, str], Notice] = {}
        keys: set[tuple[str, str]] = set()
        for channel, notice in self.said():
            before = last.get((channel, notice.alert.id))
            known = before.event if before is not None else None
            assert (channel, notice.key) not in keys
            keys.add((channel, notice.key))
            match notice.event:
                case Event.FIRED:
                    assert known is None
                case Event.REOPENED:  # also a silence that ended, after the first time had been told
                    assert known not in GOING_ON
                case Event.REPEATED:
                    assert known in GOING_ON
                    assert before is not None
                    assert channel == "all"
                    assert notice.said_at - before.said_at > HOUR - MINUTE
                    assert notice.alert.acknowledged is None
                case Event.RESOLVED:
                    assert known in GOING_ON
                case Event.CORRECTED:
                    assert known in GOING_ON | {Event.RESOLVED}
            if notice.event in GOING_ON:
                assert notice.alert.muted == ""  # what somebody is told of is not muted
                assert notice.alert.status == "firing"
            assert channel != "pages" or notice.alert.severity == "page"
            assert channel != "others" or notice.alert.model == "fraud"
            last[channel, notice.alert.id] = notice


Histories.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase
