"""Decide when a model is retrained, and what prevents it although something asks for it. Pure functions of facts.

Time is event time: a replay of last year asks for challengers when last year would have.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from driftline.rules.topic import Topic, topic_of
from driftline.statistics.binomial import at_most
from driftline.text.durations import length
from driftline.text.moments import moment
from driftline.text.numbers import percent

DAY = timedelta(days=1)
_CHANCE = 1e-3
_COMMON_SHARE = 0.05
_COMMON_CLASS = 0.2
_LEFT_SHARE = 0.1
_FEWEST_UNKNOWN = 5


class Trigger(enum.StrEnum):
    """The reason for a request."""

    ALERT = "alert"
    LABELS = "labels"
    SCHEDULE = "schedule"
    MANUAL = "manual"
    SHADOW = "shadow"
    """A person asks for the contest of a version that has answered as a shadow, beside the champion."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What asks for a challenger, and the conditions under which one is trained.

    ``alerts`` are names of rules; ``every`` and ``new_labels`` are off if they are None. Requests are at least
    ``cooldown`` apart, with at most ``most_a_day`` in any 24 hours, and need ``least_labels`` labelled rows to train
    on.
    """

    alerts: tuple[str, ...] = ()
    every: timedelta | None = None
    new_labels: int | None = None
    cooldown: timedelta = DAY
    most_a_day: int = 1
    least_labels: int = 200


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that is firing."""

    rule: str
    measure: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a model at a point of event time.

    ``asked`` are the times of earlier requests in order, ``began`` is that of the first event. ``new_labels`` counts
    those since the newest request (all without one). ``going_on`` is the id of an unfinished request, if any.
    ``label_fault`` says in words what is wrong with the labels; empty if nothing is.
    """

    now: datetime
    began: datetime
    firing: Sequence[FiringAlert] = ()
    asked: Sequence[datetime] = ()
    new_labels: int = 0
    labelled_rows: int = 0
    going_on: str = ""
    label_fault: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """The decision to train a challenger."""

    trigger: Trigger
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The decision not to train a challenger although something asks for one; ``blocked_by`` says why, in words."""

    trigger: Trigger
    reason: str
    blocked_by: str


def decide(policy: Policy, facts: Facts) -> Ask | Wait | None:
    """Decide whether a challenger is trained now; None if nothing asks for one."""
    asked = _trigger(policy, facts)
    if asked is None:
        return None
    because = blocked_because(policy, facts)
    return Wait(asked.trigger, asked.reason, because) if because else asked


def _trigger(policy: Policy, facts: Facts) -> Ask | None:
    for alert in facts.firing:
        if alert.rule in policy.alerts:
            return Ask(Trigger.ALERT, f"the alert {alert.rule} is firing")
    if policy.new_labels is not None and facts.new_labels >= policy.new_labels:
        return Ask(Trigger.LABELS, f"{facts.new_labels} new labels; {policy.new_labels} were waited for")
    since = facts.asked[-1] if facts.asked else facts.began
    if policy.every is not None and facts.now - since >= policy.every:
        what = "the last request" if facts.asked else "the first event"
        return Ask(Trigger.SCHEDULE, f"{what} was on {moment(since)}")
    return None


def blocked_because(policy: Policy, facts: Facts, *, person: bool = False) -> str:
    """Say why no challenger may be trained now; empty if one may.

    Retraining on broken labels is worse than none, so faults of the pipeline and of the labels are checked first. They
    also block a ``person`` who asks, but the cooldown and the limit for a day do not.
    """
    if facts.going_on:
        return f"request {facts.going_on} is going on"
    for alert in facts.firing:
        if topic_of(alert.measure) is Topic.PIPELINE:
            return f"the data cannot be trusted: {alert.rule} ({alert.measure}) is firing"
        if alert.measure == "label_drift":
            return f"the labels cannot be trusted: {alert.rule} (label_drift) is firing"
    if facts.label_fault:
        return f"the labels cannot be trusted: {facts.label_fault}"
    if facts.labelled_rows < policy.least_labels:
        return f"there are {facts.labelled_rows} labelled rows to learn from; {policy.least_labels} are needed"
    if person:
        return ""
    if facts.asked and facts.now - facts.asked[-1] < policy.cooldown:
        return f"the last request was on {moment(facts.asked[-1])}; the cooldown is {length(policy.cooldown)}"
    if sum(facts.now - moment < DAY for moment in facts.asked) >= policy.most_a_day:
        return f"{policy.most_a_day} in 24 hours is the most"
    return ""


def label_fault(reference: Mapping[str, int], current: Mapping[str, int]) -> str:
    """Say what is implausible about labels: a common class has gone, or an unknown one is common. Else empty.

    ``reference`` and ``current`` count labels by class. A class with at least a fifth of the reference is gone if at
    most a tenth of its share is left and the p-value of so few is below 0.001; rarer classes come and go with the
    seasons. An unknown class is common from 5 labels and 5 % on.

    >>> label_fault({"rain": 50, "sun": 50}, {"sun": 20, "fog": 10})
    "0 of 30 labels are 'rain', which was 50 % of the reference"
    >>> label_fault({"rain": 50, "sun": 50}, {"sun": 4})
    ''
    """
    total, count = sum(reference.values()), sum(current.values())
    if not total or not count:
        return ""
    for name, times in sorted(reference.items(), key=lambda one: (-one[1], one[0])):
        share, left = times / total, current.get(name, 0)
        if share >= _COMMON_CLASS and left / count <= share * _LEFT_SHARE and at_most(left, count, share) < _CHANCE:
            return f"{left} of {count} labels are {name!r}, which was {percent(share)} of the reference"
    for name, times in sorted(current.items(), key=lambda one: (-one[1], one[0])):
        if not reference.get(name) and times >= _FEWEST_UNKNOWN and times / count >= _COMMON_SHARE:
            return f"{percent(times / count)} of the labels are {name!r}, which the reference does not know"
    return ""
