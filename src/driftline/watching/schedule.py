"""``driftline watch``: call a function on a fixed schedule, and judge what it returns.

`next_run`, the schedule, and `advance`, which takes one outcome into the state, are pure. `watch` is the loop
around them; clocks and the stop signal are its arguments. What is read of it is in `watch_report`.
"""

from __future__ import annotations

import select
import signal
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from driftline.errors import DriftlineError, did_you_mean
from driftline.rules import (
    AlertMachine,
    Rule,
    State,
    Transition,
    TransitionKind,
    Verdict,
    interval_confidence,
    judge,
)
from driftline.statistics.catalogue import headlines
from driftline.statistics.measure import Measure
from driftline.watching.target import Measured, read_result

CONFIDENCE = 0.95
"""Two-sided, of the intervals that are shown; a rule is judged by its own."""

FAILED = Rule("evaluation-failed", "evaluation_failed", above=0, min_samples=0)
"""A function that raises is an event of its own: this rule is always there."""


# ---- schedule ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    """One place on the schedule: its number from 0, its moment, and how many before it were missed."""

    index: int
    at: datetime
    skipped: int


def next_run(start: datetime, every: timedelta, now: datetime, count: int) -> Slot:
    """Return the first slot on the grid ``start + index * every`` that is not over, after ``count`` used.

    The grid is fixed, so that the schedule does not drift; slots that a long evaluation misses are skipped.

    >>> noon = datetime(2024, 5, 1, 12)
    >>> next_run(noon, timedelta(hours=1), now=noon + timedelta(minutes=150), count=1)
    Slot(index=3, at=datetime.datetime(2024, 5, 1, 15, 0), skipped=2)
    """
    first_open = -((start - now) // every)
    index = max(count, first_open)
    return Slot(index, start + index * every, index - count)


# ---- one evaluation ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call of the function gave: something measured, or a failure in one line with its traceback."""

    at: datetime
    seconds: float
    measured: Measured | None
    failure: str = ""
    traceback: str = ""
    skipped: int = 0


def evaluate(
    function: Callable[[], object],
    *,
    now: Callable[[], datetime],
    steady: Callable[[], datetime],
    skipped: int = 0,
) -> Outcome:
    """Call the function and read what it returns; nothing that it raises gets out, sys.exit() neither."""
    began = steady()
    measured, failure, trace = None, "", ""
    try:
        measured = read_result(function())
    except DriftlineError as error:
        failure = " ".join(str(error).split())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's function: whatever it raises is its event
        failure = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        trace = traceback.format_exc()
    return Outcome(now(), (steady() - began).total_seconds(), measured, failure, trace, skipped)


@dataclass(frozen=True, slots=True)
class Monitor:
    """A rule's alert, the last verdict on it, and whether it was ever more than *nodata*."""

    machine: AlertMachine
    verdict: Verdict | None = None
    judged: bool = False

    @property
    def rule(self) -> Rule:
        """The rule that it watches."""
        return self.machine.rule

    @property
    def state(self) -> State:
        """The last verdict; *nodata* before the first."""
        return self.verdict.state if self.verdict is not None else State.NODATA


@dataclass(frozen=True, slots=True)
class Watching:
    """All that a running `watch` knows; a scrape of /metrics reads one whole value of it.

    ``measures`` and ``measured_at`` are those of the last evaluation that gave any.
    """

    model: str
    version: str
    every: timedelta
    monitors: tuple[Monitor, ...]
    measures: tuple[Measure, ...] = ()
    measured_at: datetime | None = None
    evaluations: int = 0
    failures: int = 0
    skipped: int = 0
    fired: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, model: str, rules: Iterable[Rule], every: timedelta, version: str = "") -> Watching:
        """Begin: no evaluation yet, every rule inactive, the rule on failures with them."""
        return cls(model, version, every, tuple(Monitor(AlertMachine(rule)) for rule in (*rules, FAILED)))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation as it is printed: the values, and then each monitor with what happened to its alert."""

    outcome: Outcome
    measures: tuple[Measure, ...]
    monitors: tuple[tuple[Monitor, Transition | None], ...]


def advance(watching: Watching, outcome: Outcome) -> tuple[Watching, Evaluation]:
    """Take one outcome into the state. A failure leaves the last measures; only its own rule is judged."""
    stepped = tuple(_step(monitor, outcome) for monitor in watching.monitors)
    shown: tuple[Measure, ...] = ()
    if outcome.measured is not None:
        found = outcome.measured.measures(CONFIDENCE).values()
        ruled = {monitor.rule.measure for monitor in watching.monitors}
        own = outcome.measured.rows is None  # the measures that the user's function named
        shown = tuple(
            one for one in found if one.value is not None and (own or one.name in headlines() or one.name in ruled)
        )
    fired = sum(1 for _, transition in stepped if transition and transition.kind is TransitionKind.FIRED)
    after = replace(
        watching,
        monitors=tuple(monitor for monitor, _ in stepped),
        measures=watching.measures if outcome.failure else shown,
        measured_at=watching.measured_at if outcome.failure else outcome.at,
        evaluations=watching.evaluations + 1,
        failures=watching.failures + bool(outcome.failure),
        skipped=watching.skipped + outcome.skipped,
        fired=watching.fired + fired,
        seconds=watching.seconds + outcome.seconds,
    )
    return after, Evaluation(outcome, shown, stepped)


def _step(monitor: Monitor, outcome: Outcome) -> tuple[Monitor, Transition | None]:
    measure, shown = (_measure_for(monitor.rule, outcome, at) for at in (interval_confidence(monitor.rule), CONFIDENCE))
    verdict = judge(monitor.rule, measure, shown=shown)
    machine, transition = monitor.machine.step(verdict, outcome.at)
    judged = monitor.judged or verdict.state is not State.NODATA
    return Monitor(machine, verdict, judged), transition


def _measure_for(rule: Rule, outcome: Outcome, confidence: float) -> Measure:
    if rule is FAILED:
        return Measure(rule.measure, 1.0 if outcome.failure else 0.0)
    if outcome.measured is None:
        return Measure(rule.measure, problem="the evaluation failed")
    if outcome.measured.problem:
        return Measure(rule.measure, problem=outcome.measured.problem)
    measures = outcome.measured.measures(confidence)
    if rule.measure not in measures:
        near = did_you_mean(rule.measure, measures) or outcome.measured.hint
        return Measure(rule.measure, problem=f"the function returned {', '.join(measures)}.{near}")
    return measures[rule.measure]


# ---- the loop ----------------------------------------------------------------------------------------------


class Stop(Protocol):
    """How the loop learns that it should end; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether the loop should end."""

    def wait(self, timeout: float) -> object:
        """Sleep for that many seconds, or less when it should end."""


class StopSignal:
    """SIGTERM or SIGINT: the first lets the evaluation at work finish, a second ends the process at once.

    A `threading.Event` must not be set by a signal handler in the thread that waits for it (its lock is not
    reentrant); a byte through a socket may.
    """

    def __init__(self) -> None:
        self._came = False
        self._reader, self._writer = socket.socketpair()

    def is_set(self) -> bool:
        """Return whether a signal came."""
        return self._came

    def wait(self, timeout: float) -> None:
        """Sleep until a signal comes, at most that many seconds."""
        if not self._came:
            select.select([self._reader], [], [], max(timeout, 0.0))

    def install(self) -> None:
        """Take over both signals; for the main thread of a program."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        self._came = True
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        self._writer.send(b"x")


def watch(
    function: Callable[[], object],
    watching: Watching,
    *,
    now: Callable[[], datetime],
    steady: Callable[[], datetime],
    stop: Stop,
    count: int | None = None,
) -> Iterator[tuple[Watching, Evaluation]]:
    """Evaluate at once and then on every slot, until ``count`` evaluations are done or it should stop.

    Evaluations follow each other and never overlap. ``now`` dates them; ``steady`` keeps the schedule.
    """
    start, used, skipped = steady(), 0, 0
    while not stop.is_set():
        outcome = evaluate(function, now=now, steady=steady, skipped=skipped)
        watching, evaluation = advance(watching, outcome)
        yield watching, evaluation
        if count is not None and watching.evaluations >= count:
            return
        slot = next_run(start, watching.every, steady(), used + 1)
        used, skipped = slot.index, slot.skipped
        while not stop.is_set() and (left := (slot.at - steady()).total_seconds()) > 0:
            stop.wait(left)
