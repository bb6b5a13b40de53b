"""Build what is shown of all models at once: little of each, in as many statements for three as for five hundred."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from driftline.config.load import Config
from driftline.monitoring.alerting import STALE_RULE
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.summary import WindowBrief
from driftline.retrain.request import Stage
from driftline.rules import Rule
from driftline.statistics.catalogue import headlines
from driftline.store.counters import SHOWN, VERDICTS
from driftline.store.inbox import Inbox
from driftline.store.judgements import Judgement
from driftline.store.overview import Challenger, FiringAlert, NewestWindow, Overview
from driftline.store.state import State

POINTS = 30
"""The newest windows of which the course of a measure is shown."""

_STAGES = (Stage.WAITING, Stage.BAKING, Stage.PROMOTED)
_brief = msgspec.msgpack.Decoder(WindowBrief)


class Course(NamedTuple):
    """The main measure of a model in its newest windows, in order of time, and the newest one that is judged.

    ``values`` are None where there is none; ``judged`` is the place of the newest judged window among them. ``low``,
    ``high`` and ``n`` are of that window, as its label ``coverage`` and the ``verdicts`` of the rules are.
    """

    measure: str = ""
    values: tuple[float | None, ...] = ()
    judged: int | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    coverage: float | None = None
    start: datetime | None = None
    end: datetime | None = None
    compared: int = 0
    drifted: int = 0
    verdicts: tuple[Judgement, ...] = ()

    @property
    def value(self) -> float | None:
        """The measure in the newest judged window."""
        return None if self.judged is None else self.values[self.judged]


class FleetRow(NamedTuple):
    """One model among all: what came of it, how it is, and what waits for a person.

    ``version`` is what the newest promotion made champion, or what answered in the newest judged window.
    """

    config: ModelConfig
    task: str
    predictions: int
    labels: int
    waiting_events: int
    last_arrival: datetime | None
    course: Course
    alerts: Sequence[FiringAlert]
    challenger: Challenger | None
    version: str

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.config.name

    @property
    def stale(self) -> bool:
        """Whether an alert says that nothing arrives of it any more."""
        return any(one.rule == STALE_RULE for one in self.alerts)


class FleetReader:
    """Reads the rows of all models; what has not changed since the last time is not read or decoded again.

    Law: a reader that has read before returns the same as a new one.
    """

    def __init__(self, config: Config, tasks: Mapping[str, str], state: State, inbox: Inbox) -> None:
        self._config, self._tasks, self._state, self._inbox = config, tasks, state, inbox
        self._lock = threading.Lock()
        self._known: dict[str, tuple[tuple[int, int], Course]] = {}
        said = [(one.name, one.team, one.tags, one.rules, one.window.timezone) for one in config.models.values()]
        self._configured = zlib.crc32(repr(said).encode())

    def mark(self) -> tuple[int, ...]:
        """Return what is another whenever the rows may be: one statement, of which nothing is decoded."""
        with self._state.read() as read:
            return self._configured, *Overview(read.connection).mark()

    def rows(self, models: Collection[str] = ()) -> list[FleetRow]:
        """Return these models, or all of them, in the order of the configuration."""
        waiting = self._inbox.waiting_events()
        names = [name for name in self._config.models if not models or name in models]
        with self._lock, self._state.read() as read:
            overview = Overview(read.connection)
            counters, arrivals = overview.counters(), read.models.last_arrivals()
            firing, newest = overview.firing_alerts(), overview.newest_windows()
            challengers = overview.challengers(_STAGES)
            self._look_at(overview, names, counters)
        found = []
        for name in names:
            totals = _totals(counters.get(name, {}))
            requests = challengers.get(name, {})
            row = FleetRow(
                config=self._config.models[name],
                task=self._tasks[name],
                predictions=totals.get("predictions", 0),
                labels=totals.get("labels", 0),
                waiting_events=waiting.get(name, 0),
                last_arrival=arrivals.get(name),
                course=self._known[name][1],
                alerts=firing.get(name, ()),
                challenger=requests.get(Stage.WAITING),
                version=_version(requests, newest.get(name)),
            )
            found.append(row)
        return found

    def _look_at(
        self, overview: Overview, names: Iterable[str], counters: Mapping[str, Mapping[tuple[str, str], int]]
    ) -> None:
        """Read the courses that have changed since the last time."""
        keys = {}
        for name in names:
            of_one = counters.get(name, {})
            keys[name] = (of_one.get((SHOWN, ""), -1), of_one.get((VERDICTS, ""), -1))
        changed = [name for name, key in keys.items() if name not in self._known or self._known[name][0] != key]
        briefs = overview.briefs(changed, POINTS) if changed else {}
        rules = {name: self._config.models[name].rules for name in changed}
        decoded = {name: [_brief.decode(body) for body in briefs.get(name, [])] for name in changed}
        courses = {name: course_of(decoded[name], rules[name]) for name in changed}
        judged = {name: (one.start, [rule.name for rule in rules[name]]) for name, one in courses.items() if one.start}
        verdicts = overview.verdicts(judged) if judged else {}
        for name, course in courses.items():
            self._known[name] = keys[name], course._replace(verdicts=_sorted(verdicts.get(name, []), rules[name]))


def main_measure(rules: Sequence[Rule], briefs: Sequence[WindowBrief]) -> str:
    """Return the measure that stands for a model: that of its first rule on performance, else its first headline.

    It is empty where no measure of performance is known.
    """
    known = {name for one in briefs for name in one.performance}
    valued = {name for one in briefs for name, view in one.performance.items() if view[0] is not None}
    ruled = [rule.measure for rule in rules if rule.measure in known]
    usual = [name for name in headlines() if name in valued]
    return next(iter([*ruled, *usual]), "")


def course_of(briefs: Sequence[WindowBrief], rules: Sequence[Rule]) -> Course:
    """Return the course of the main measure in windows, which are in order of time; without verdicts."""
    measure = main_measure(rules, briefs)
    places = [place for place, one in enumerate(briefs) if one.stage == "judged"]
    values = tuple(one.performance[measure][0] if measure in one.performance else None for one in briefs)
    if not places:
        return Course(measure, values)
    newest = briefs[places[-1]]
    _, low, high, n = newest.performance.get(measure, (None, None, None, 0))
    ends = newest.coverage, newest.start, newest.end, newest.compared, newest.drifted
    return Course(measure, values, places[-1], low, high, n, *ends)


def _sorted(verdicts: Iterable[Judgement], rules: Sequence[Rule]) -> tuple[Judgement, ...]:
    """Return verdicts as `Views.windows` does: in the order of the rules, then of their slices."""
    places = {rule.name: place for place, rule in enumerate(rules)}
    return tuple(sorted(verdicts, key=lambda one: (places[one.rule], one.slice)))


def _totals(counters: Mapping[tuple[str, str], int]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for (name, _), value in counters.items():
        totals[name] = totals.get(name, 0) + value
    return totals


def _version(requests: Mapping[str, Challenger], newest: NewestWindow | None) -> str:
    promoted = [requests[stage] for stage in (Stage.PROMOTED, Stage.BAKING) if stage in requests]
    if promoted:
        return promoted[-1].version
    return "" if newest is None else ", ".join(version for version, _ in newest.revisions)
