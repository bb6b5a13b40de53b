"""``driftline watch``: call a function on a fixed schedule, and judge what it returns.

`next_run`, the schedule, and `advance`, which adds one outcome to the state, are pure. `watch` is the loop around them;
clocks and the stop signal are its arguments. `driftline.watching.report` reports the state.
"""

from __future__ import annotations

import contextlib
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
"""The two-sided confidence of the intervals that are shown; a rule is judged by its own."""

_SIGNALS_AT_ONCE = 64

FAILED = Rule("evaluation-failed", "evaluation_failed", above=0, min_samples=0)
"""The rule on exceptions of the function, which is always there."""


# ---- schedule ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of the schedule: its number from 0, its time, and how many slots before it were missed."""

    index: int
    at: datetime
    skipped: int


def next_run(start: datetime, every: timedelta, now: datetime, count: int) -> Slot:
    """Return the first slot of the grid ``start + index * every`` that has not passed, after ``count`` used ones.

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
    """The outcome of one call of the function: a result, or a failure in one line with its traceback."""

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
    """Call the function and read what it returns; whatever it raises, even by sys.exit(), becomes a failure."""
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
    """A rule's alert, its last verdict, and whether any verdict was other than *nodata*."""

    machine: AlertMachine
    verdict: Verdict | None = None
    judged: bool = False

    @property
    def rule(self) -> Rule:
        """The rule of the alert."""
        return self.machine.rule

    @property
    def state(self) -> State:
        """The state of the last verdict; *nodata* before the first."""
        return self.verdict.state if self.verdict is not None else State.NODATA


@dataclass(frozen=True, slots=True)
class Watching:
    """The whole state of a running `watch`; a scrape of /metrics reads one such value.

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
        """Return the state at the start: no evaluations, and all rules, with the one on failures, inactive."""
        return cls(model, version, every, tuple(Monitor(AlertMachine(rule)) for rule in (*rules, FAILED)))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation as it is printed: outcome, measures, and each monitor with its alert's transition, if any."""

    outcome: Outcome
    measures: tuple[Measure, ...]
    monitors: tuple[tuple[Monitor, Transition | None], ...]


def advance(watching: Watching, outcome: Outcome) -> tuple[Watching, Evaluation]:
    """Add one outcome to the state. After a failure the last measures stay, and only the rule on failures is judged."""
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
    """The signal for the loop to end; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Return whether the loop should end."""

    def wait(self, timeout: float) -> object:
        """Sleep for ``timeout`` seconds, or less if the loop should end."""


class StopSignal:
    """SIGTERM or SIGINT: the first lets the running evaluation finish, a second ends the process at once.

    A `threading.Event` must not be set by a signal handler in the thread that waits for it (its lock is not
    reentrant); a byte through a socket may. Python writes it itself (`signal.set_wakeup_fd`): the system may hand a
    signal to any thread, and a main thread that sleeps would not know of it.
    """

    def __init__(self) -> None:
        self._came = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def is_set(self) -> bool:
        """Return whether a signal came."""
        return self._came

    def wait(self, timeout: float) -> None:
        """Sleep until a signal comes, but at most ``timeout`` seconds."""
        if not self._came and select.select([self._reader], [], [], max(timeout, 0.0))[0]:
            with contextlib.suppress(BlockingIOError):
                self._reader.recv(_SIGNALS_AT_ONCE)  # other signals wake it too: whoever waits looks again

    def install(self) -> None:
        """Take over both signals; for the main thread of a program."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        self._came = True
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        with contextlib.suppress(BlockingIOError):
            self._writer.send(b"x")  # who has set another `set_wakeup_fd` meanwhile is woken too


def watch(
    function: Callable[[], object],
    watching: Watching,
    *,
    now: Callable[[], datetime],
    steady: Callable[[], datetime],
    stop: Stop,
    count: int | None = None,
) -> Iterator[tuple[Watching, Evaluation]]:
    """Evaluate at once and then at every slot, until ``count`` evaluations are done or ``stop`` is set.

    Yields the state and the evaluation each time. Evaluations never overlap. ``now`` gives their times, ``steady`` the
    schedule's.
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
