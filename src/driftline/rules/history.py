"""The lifecycle of an alert, as a pure function of the verdicts: inactive -> pending -> firing -> resolved.

Breaches in a row count towards ``for_windows``; an ok window ends the streak, or the alert. A rule may ask that an
alert ends only at a value that has come back far enough (``clear``), or only after more ok windows
(``keep_firing_for``). A window without data changes nothing: it neither breaks nor extends a streak, and a firing
alert goes on firing.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from driftline.errors import UsageError
from driftline.events import Window
from driftline.rules.rule import Rule
from driftline.rules.verdict import State, Verdict


class AlertState(enum.StrEnum):
    """The state of an alert. *resolved* is *inactive* just after an alert ended, until the next judged verdict."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class TransitionKind(enum.StrEnum):
    """The two transitions that are worth a notification."""

    FIRED = "fired"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert fired or was resolved in the window that starts ``at`` this time; ``since`` is its first breach."""

    kind: TransitionKind
    at: datetime
    since: datetime
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class AlertMachine:
    """The state of one rule's alert; `step` takes the next verdict and returns the next state.

    ``breaches`` counts those of the current streak, ``since`` is the start of its first one. ``ok`` counts the ok
    windows in a row since the last breach of a firing alert.

    Law: folding `step` over verdicts fires and resolves where `alerts_of` says.
    """

    rule: Rule
    state: AlertState = AlertState.INACTIVE
    breaches: int = 0
    since: datetime | None = None
    ok: int = 0

    def step(self, verdict: Verdict, at: datetime) -> tuple[AlertMachine, Transition | None]:
        """Return the machine after one more verdict, and what happened, if anything did."""
        if verdict.state is State.NODATA:
            return self, None
        if verdict.state is State.OK:
            if self.state is not AlertState.FIRING:
                return AlertMachine(self.rule), None
            assert self.since is not None
            ok = self.ok + 1 if self.rule.cleared_by(verdict.value) else 0
            if ok <= self.rule.keep_firing_for:
                return replace(self, ok=ok), None
            resolved = Transition(TransitionKind.RESOLVED, at, self.since, verdict)
            return AlertMachine(self.rule, AlertState.RESOLVED), resolved
        since, breaches = self.since or at, self.breaches + 1
        if self.state is AlertState.FIRING:
            return replace(self, breaches=breaches, ok=0), None
        if breaches < self.rule.for_windows:
            return AlertMachine(self.rule, AlertState.PENDING, breaches, since), None
        fired = Transition(TransitionKind.FIRED, at, since, verdict)
        return AlertMachine(self.rule, AlertState.FIRING, breaches, since), fired


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """A window and a rule's verdict on it."""

    window: Window
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class AlertSpan:
    """One alert in event time.

    ``started`` is the first breaching window, ``fired`` the one that made the streak long enough, ``last`` the last
    breaching one, ``ended`` the ok window that ended it (None while firing). ``verdict`` is that of ``fired``,
    ``worst`` the breach furthest beyond the threshold. ``without_rows`` is 0, or how many windows in a row had no rows
    for the rule to judge: then ``ended`` is the last of them. ``ended_by`` says who ended it and why, if a person did.
    """

    rule: Rule
    started: Window
    fired: Window
    ended: Window | None
    last: Window
    verdict: Verdict
    worst: Verdict
    without_rows: int = 0
    ended_by: str = ""

    @property
    def firing(self) -> bool:
        """Whether the alert has not ended."""
        return self.ended is None

    @property
    def window(self) -> Window:
        """The event time from the first breach to the end of the last."""
        return Window(self.started.start, self.last.end)


@dataclass(frozen=True, slots=True)
class Ending:
    """Somebody said something that ends the alert that fires after the window that ends ``at``, event time."""

    at: datetime
    reason: str


def alerts_of(rule: Rule, judged: Sequence[JudgedWindow], endings: Sequence[Ending] = ()) -> list[AlertSpan]:
    """Return the alerts that follow from a rule's verdicts, in order of time; there may be gaps between windows.

    What fires at one of the ``endings``, in order of time, is over with the last window before it. Raises `UsageError`
    for windows that are out of order or come twice.
    """
    found, left = list[AlertSpan](), list(judged)
    for ending in endings:
        before = [one for one in left if one.window.end <= ending.at]
        left = left[len(before) :]
        found += [
            replace(span, ended=before[-1].window, ended_by=ending.reason) if span.firing else span
            for span in _replay(rule, before)[0]
        ]
    return [*found, *_replay(rule, left)[0]]


def pending(rule: Rule, judged: Sequence[JudgedWindow]) -> JudgedWindow | None:
    """Return the first breach of an unfinished streak at the end, or None when nothing is pending."""
    _, machine, streak = _replay(rule, judged)
    return streak[0] if machine.state is AlertState.PENDING else None


def _replay(rule: Rule, judged: Sequence[JudgedWindow]) -> tuple[list[AlertSpan], AlertMachine, list[JudgedWindow]]:
    """Step the machine through the windows; return the alerts, its last state, and the breaches of the last streak."""
    for earlier, later in itertools.pairwise(judged):
        if not earlier.window.start < later.window.start:
            raise UsageError(
                f"rule {rule.name!r}: the window of {later.window.start.isoformat()} came after that of "
                f"{earlier.window.start.isoformat()}; give each window once, in order of time"
            )
    spans: list[AlertSpan] = []
    machine, streak = AlertMachine(rule), []
    fired: JudgedWindow | None = None
    for one in judged:
        machine, transition = machine.step(one.verdict, one.window.start)
        if one.verdict.state is State.BREACH:
            streak.append(one)
        if transition is not None and transition.kind is TransitionKind.FIRED:
            fired = one
        if one.verdict.state is State.OK and machine.state is not AlertState.FIRING:
            if fired is not None:
                spans.append(_span(rule, streak, fired, ended=one.window))
            streak, fired = [], None
    if fired is not None:
        spans.append(_span(rule, streak, fired, ended=None))
    return spans, machine, streak


def _span(rule: Rule, streak: Sequence[JudgedWindow], fired: JudgedWindow, ended: Window | None) -> AlertSpan:
    def badness(one: JudgedWindow) -> float:
        value = one.verdict.value
        assert value is not None  # a breach has a value
        return -value if rule.comparison == "below" else value

    worst = max(streak, key=badness)  # the first of equals
    return AlertSpan(rule, streak[0].window, fired.window, ended, streak[-1].window, fired.verdict, worst.verdict)
