"""When a challenger is asked for, and what keeps it from being trained."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.retrain.policy import (
    DAY,
    Ask,
    Facts,
    FiringAlert,
    Policy,
    Trigger,
    Wait,
    blocked_because,
    decide,
    label_fault,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEGAN = NOW - 100 * DAY
LOW = FiringAlert("accuracy-low", "accuracy")
POLICY = Policy(alerts=("accuracy-low",), every=30 * DAY, new_labels=500, cooldown=7 * DAY, least_labels=100)
READY = Facts(NOW, BEGAN, asked=(NOW - 10 * DAY,), labelled_rows=1000)


def test_nothing_asks() -> None:
    assert decide(POLICY, READY) is None
    assert decide(Policy(), replace(READY, firing=(LOW,), new_labels=10**6)) is None


@pytest.mark.parametrize(
    ("changes", "trigger"),
    [
        ({"firing": (FiringAlert("recall-low", "recall"), LOW)}, Trigger.ALERT),
        ({"new_labels": 500}, Trigger.LABELS),
        ({"asked": (NOW - 30 * DAY,)}, Trigger.SCHEDULE),
        ({"asked": ()}, Trigger.SCHEDULE),
    ],
)
def test_what_asks(changes: dict[str, object], trigger: Trigger) -> None:
    asked = decide(POLICY, replace(READY, **changes))
    assert isinstance(asked, Ask)
    assert asked.trigger is trigger


def test_a_schedule_counts_from_the_first_event_before_the_first_request() -> None:
    assert decide(Policy(every=DAY), Facts(NOW, NOW - DAY / 2, labelled_rows=1000)) is None
    asked = decide(Policy(every=DAY), Facts(NOW, NOW - DAY, labelled_rows=1000))
    assert asked == Ask(Trigger.SCHEDULE, "the first event was on 2025-12-31 00:00 UTC")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"going_on": "r1"}, "request r1 is going on"),
        ({"firing": (LOW, FiringAlert("labels-late", "label_coverage"))}, "the data cannot be trusted: labels-late"),
        ({"firing": (LOW, FiringAlert("monitor-stale", "hours_since_last_event"))}, "the data cannot be trusted"),
        ({"firing": (LOW, FiringAlert("labels-moved", "label_drift"))}, "the labels cannot be trusted: labels-moved"),
        ({"label_fault": "no label is 'rain'"}, "the labels cannot be trusted: no label is 'rain'"),
        ({"labelled_rows": 99}, "there are 99 labelled rows to learn from; 100 are needed"),
        ({"asked": (NOW - 6 * DAY,)}, "the last request was on 2025-12-26 00:00 UTC; the cooldown is 7 days"),
    ],
)
def test_what_keeps_it_from_being_trained(changes: dict[str, object], why: str) -> None:
    facts = replace(READY, firing=(LOW,))
    assert isinstance(decide(POLICY, facts), Ask)
    held = decide(POLICY, replace(facts, **changes))
    assert isinstance(held, Wait)
    assert held.blocked_by.startswith(why)
    assert held.trigger is Trigger.ALERT


def test_drift_of_inputs_and_of_predictions_does_not_keep_it() -> None:
    moved = (LOW, FiringAlert("moved", "drifted_features_ratio"), FiringAlert("said", "prediction_drift"))
    assert isinstance(decide(POLICY, replace(READY, firing=moved)), Ask)


def test_a_person_is_held_to_faults_only() -> None:
    soon = replace(READY, asked=(NOW,))
    assert blocked_because(POLICY, soon) and not blocked_because(POLICY, soon, person=True)
    assert blocked_because(POLICY, replace(soon, label_fault="no label is rain"), person=True)
    assert blocked_because(POLICY, replace(soon, going_on="r1"), person=True)


def test_so_many_a_day_at_most() -> None:
    policy = Policy(alerts=("accuracy-low",), cooldown=timedelta(0), most_a_day=2, least_labels=0)
    hours = [NOW - timedelta(hours=hour) for hour in (25, 23, 1)]
    assert blocked_because(policy, replace(READY, asked=hours)) == "2 in 24 hours is the most"
    assert blocked_because(policy, replace(READY, asked=[hours[0], hours[2]])) == ""


@given(
    st.lists(st.integers(0, 400), max_size=40),
    st.integers(0, 72),
    st.integers(1, 4),
    st.booleans(),
)
def test_a_policy_followed_hour_by_hour_keeps_its_own_limits(
    alarms: list[int], cooldown: int, most: int, labels_broken: bool
) -> None:
    """Whatever fires: never within the cooldown, never too many a day, and never while labels are broken."""
    policy = Policy(alerts=("accuracy-low",), cooldown=timedelta(hours=cooldown), most_a_day=most, least_labels=0)
    asked: list[datetime] = []
    for hour in range(401):
        now = BEGAN + timedelta(hours=hour)
        broken = labels_broken and hour % 3 == 0
        facts = Facts(
            now,
            BEGAN,
            firing=(LOW,) if hour in alarms else (),
            asked=tuple(asked),
            label_fault="no label is 'rain'" if broken else "",
        )
        if isinstance(decide(policy, facts), Ask):
            assert not broken
            asked.append(now)
    assert all(later - one >= policy.cooldown for one, later in itertools.pairwise(asked))
    assert all(sum(timedelta(0) <= one - other < DAY for other in asked) <= most for one in asked)
    if alarms and not labels_broken:
        assert asked


# ---- labels -----------------------------------------------------------------------------------------------------

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 500), min_size=1)


def test_seattle() -> None:
    reference = {"rain": 191, "sun": 131, "fog": 4, "snow": 21, "drizzle": 19}
    assert label_fault(reference, {"sun": 14, "fog": 14, "drizzle": 2}).startswith("0 of 30 labels are 'rain'")
    assert label_fault(reference, {"rain": 1, "sun": 14, "fog": 16}) == (
        "1 of 31 labels are 'rain', which was 52 % of the reference"
    )
    assert label_fault(reference, {"rain": 2, "sun": 25, "drizzle": 4}) == ""  # a dry July
    assert label_fault(reference, {"rain": 10, "sun": 14, "snow": 2, "fog": 2}) == ""


def test_an_unknown_class() -> None:
    assert (
        label_fault({"a": 9, "b": 9}, {"a": 60, "b": 30, "c": 5})
        == "5.3 % of the labels are 'c', which the reference does not know"
    )
    assert label_fault({"a": 9}, {"a": 90, "c": 4}) == ""
    assert label_fault({"a": 9}, {"a": 1000, "c": 5}) == ""


@given(COUNTS, st.integers(1, 5))
def test_labels_like_the_reference_are_never_a_fault(reference: dict[str, int], times: int) -> None:
    assert label_fault(reference, {name: count * times for name, count in reference.items()}) == ""
    assert label_fault(reference, {}) == label_fault({}, reference) == ""


@given(COUNTS, COUNTS)
def test_a_fault_names_a_class_that_is_gone_or_unknown(reference: dict[str, int], current: dict[str, int]) -> None:
    fault = label_fault(reference, current)
    total, count = sum(reference.values()), sum(current.values())
    gone = {name for name in reference if current.get(name, 0) / count <= 0.1 * reference[name] / total}
    assert not fault or any(repr(name) in fault for name in gone | (set(current) - set(reference)))


def test_chance_alone_makes_no_fault() -> None:
    """A class of a fifth is absent from 30 labels in 1.2 of 1,000 samples: not rare enough; from 31 it is."""
    reference = {"a": 800, "b": 200}
    assert label_fault(reference, {"a": 30}) == ""
    assert label_fault(reference, {"a": 31}) == "0 of 31 labels are 'b', which was 20 % of the reference"
    assert label_fault({"a": 810, "b": 190}, {"a": 1000}) == ""  # a rare class may be out of season
