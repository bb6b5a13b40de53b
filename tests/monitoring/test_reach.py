"""Alerts that are moved by what a change can reach are those of the whole history, however it came about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.monitoring import reach
from driftline.monitoring.alerting import AlertEvent, move_alerts
from driftline.rules import Rule
from driftline.store.alerts import AlertRow, TransitionRow
from driftline.store.judgements import Judgement
from driftline.store.state import State
from driftline.store.tables import METADATA

NOW, HOUR, MODEL = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1), "m"
VALUES = {"ok": (0.9, 0.8), "breach": (0.6, 0.5, 0.4), "nodata": (None,)}  # of ok ones, only the first clears
RULE = Rule("low", "accuracy", below=0.75)

Verdicts = dict[int, tuple[str, float | None]]
VERDICTS = st.sampled_from([(state, value) for state, values in VALUES.items() for value in values])
BREACHES = [("breach", value) for value in VALUES["breach"]]
FIRST = st.one_of(
    st.lists(st.sampled_from(verdicts), min_size=least, max_size=13).map(lambda some: dict(enumerate(some)))
    for verdicts, least in ((BREACHES, 0), (BREACHES, 8), ([*BREACHES, ("ok", 0.8)], 8))
)
"""What was judged at first: nothing, or alerts that go on for long."""

BATCHES = st.lists(st.dictionaries(st.integers(0, 15), VERDICTS, min_size=1, max_size=4), min_size=1, max_size=6)
"""What is judged at a time: windows of 16 and their verdicts; one that comes again is a correction."""


def verdict(place: int, state: str, value: float | None, at: datetime = NOW) -> Judgement:
    start = NOW + place * HOUR
    return Judgement(
        model=MODEL,
        rule=RULE.name,
        window_start=start,
        window_end=start + HOUR,
        judged_at=at,
        state=state,
        value=value,
        low=None,
        high=None,
        n=9,
        threshold=0.75,
        reason=f"{state} in {place}",
        current=True,
    )


class Told:
    """The alerts of one rule, moved by what has changed or by all there is."""

    def __init__(self, rule: Rule, *, all_there_is: bool) -> None:
        self.rule, self.all_there_is = rule, all_there_is
        engine = sa.create_engine("sqlite://")
        METADATA.create_all(engine)
        self.state = State(engine)
        self.batches = 0

    def judge(self, verdicts: Verdicts, why: str = "") -> list[AlertEvent]:
        self.batches += 1
        at = NOW + self.batches * timedelta(days=1)
        with self.state.work() as work:
            for place, (state, value) in verdicts.items():
                work.judgements.put(verdict(place, state, value, at))
            changed = None if self.all_there_is or why else [NOW + place * HOUR for place in verdicts]
            return move_alerts(MODEL, work, self.rule, at, changed=changed, why=why)

    def stored(self) -> tuple[list[AlertRow], dict[str, list[TransitionRow]]]:
        with self.state.read() as read:
            rows = read.alerts.find(MODEL)
            return rows, read.alerts.transitions(row.id for row in rows)


@pytest.fixture(scope="module", autouse=True)
def short_reads() -> Iterator[None]:
    """So few verdicts at once that a few of them are a long history."""
    before, reach.READ_AT_ONCE = reach.READ_AT_ONCE, 2
    yield
    reach.READ_AT_ONCE = before


# An alert that was corrected is none to begin with: its first breach is of another streak by now.
@example(dict.fromkeys(range(3), ("breach", 0.5)), [{1: ("ok", 0.8)}, {3: ("breach", 0.5)}], 2, 0, 0.85)
@settings(max_examples=60, deadline=None)
@given(FIRST, BATCHES, st.integers(1, 3), st.integers(0, 2), st.sampled_from([None, 0.85]))
def test_what_a_change_reaches_is_all_that_it_changes(
    first: Verdicts, batches: list[Verdicts], windows: int, keep: int, clear: float | None
) -> None:
    rule = replace(RULE, for_windows=windows, keep_firing_for=keep, clear=clear)
    part, everything = Told(rule, all_there_is=False), Told(rule, all_there_is=True)
    for batch in (first, *batches):
        assert part.judge(batch) == everything.judge(batch)
    assert part.stored() == everything.stored()


@settings(max_examples=30, deadline=None)
@given(BATCHES, BATCHES, st.integers(1, 3), st.sampled_from([0.45, 0.85]))
def test_it_is_so_after_the_rule_was_changed(
    before: list[Verdicts],
    after: list[Verdicts],
    windows: int,
    below: float,
) -> None:
    """What the changed rule does not find stays as it was, and is no alert that a history could begin with."""
    part, everything = Told(RULE, all_there_is=False), Told(RULE, all_there_is=True)
    for batch in before:
        part.judge(batch), everything.judge(batch)
    known = {place: one for batch in before for place, one in batch.items()}
    changed = judged_by(below, known)
    for one in (part, everything):
        one.rule = replace(RULE, below=below, for_windows=windows)
        one.judge(changed, why="the rule was changed")
    for batch in after:
        said = judged_by(below, batch)
        assert part.judge(said) == everything.judge(said)
    assert part.stored() == everything.stored()


def judged_by(below: float, verdicts: Verdicts) -> Verdicts:
    """The verdicts of a rule with another threshold."""
    return {
        place: (state if value is None else "breach" if value < below else "ok", value)
        for place, (state, value) in verdicts.items()
    }


def story(letters: Sequence[str]) -> Verdicts:
    says: dict[str, tuple[str, float | None]] = {"o": ("ok", 0.9), "x": ("breach", 0.5), "X": ("breach", 0.4)}
    return {place: says[letter] for place, letter in enumerate(letters)}


@pytest.mark.parametrize("history", ["o", "x", "oooooooX" + "x" * 24], ids=["well", "one alert", "alerts that end"])
def test_one_verdict_more_reads_as_much_of_a_long_history_as_of_a_short_one(
    history: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "READ_AT_ONCE", 8)
    read = []
    for length in (64, 640):
        told = Told(replace(RULE, for_windows=2), all_there_is=False)
        told.judge(story((history * length)[:length]))
        with told.state.work() as work:
            stretches = reach.History(work, MODEL, told.rule).reached([NOW + (length - 1) * HOUR])
            read.append(sum(len(one.verdicts) for one in stretches))
    assert read[0] == read[1] <= 8 + 1 + 2 + 1  # those before, itself, those by which the alert fired, and its worst


def test_a_window_that_could_not_be_judged_before_and_cannot_now_is_no_change() -> None:
    told = Told(RULE, all_there_is=False)
    assert [event.kind.value for event in told.judge({0: ("breach", 0.5), 1: ("nodata", None)})] == ["fired"]
    assert told.judge({2: ("nodata", None)}) == []
    assert [event.kind.value for event in told.judge({3: ("ok", 0.9)})] == ["resolved"]
