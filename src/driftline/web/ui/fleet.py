"""The first page: all models, those that need a person first; searched, filtered and sorted by its address."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, get_args
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from markupsafe import Markup

from driftline.access.callers import Caller
from driftline.charts import sparks
from driftline.events import Schema
from driftline.monitoring.budget import suspects_labels
from driftline.rules import Rule
from driftline.store.overview import FiringAlert
from driftline.templating import url_segment
from driftline.text.durations import about
from driftline.text.moments import page_span
from driftline.text.numbers import from_to, number_or_nothing, percent_or_nothing
from driftline.views.fleet import Course, FleetRow
from driftline.web.ui.first_events import first_events
from driftline.web.ui.rendering import Render, fragment, tag_of, unchanged
from driftline.web.ui.state import SEVERITIES, Headline, Tone, headline_of, severity, severity_rank

SHOWN = 500
"""The most models on one page; the next ones have a page of their own."""

STARTING = 3
"""So many models without events are told how to send the first ones; others say it on their own pages."""

_KEPT = 4096  # lines and courses that are kept as they were drawn
_MINUTE = timedelta(minutes=1)

State = Literal["attention", "firing", "challenger", "stale", "labels", "pending", "unknown", "ok"]
"""What a model is found by: whether it needs a person at all, why it does, or that it does not."""

STATES: Mapping[State, str] = {
    "attention": "Needs a person",
    "firing": "Alert firing",
    "challenger": "Challenger waiting",
    "stale": "No events arrive",
    "labels": "Labels at fault",
    "pending": "Alert pending",
    "unknown": "Not known",
    "ok": "All well",
}

Order = Literal["attention", "name", "event", "coverage", "alerts"]

ORDERS: Mapping[Order, str] = {
    "attention": "Needs a person first",
    "name": "Name",
    "event": "Longest without events",
    "coverage": "Fewest labels",
    "alerts": "Most alerts",
}


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def fleet(self, models: Collection[str] = (), /) -> list[FleetRow]:
        """Return what is shown of these models, or of all of them."""

    def fleet_mark(self) -> tuple[int, ...]:
        """Return what is another whenever `fleet` may say something else."""

    def schema(self, model: str, /) -> Schema | None:
        """Return the shape of a model's events; None where that is not known yet."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for; what it does not know counts as not asked."""

    q: str = ""
    team: str = ""
    tag: str = ""
    state: State | None = None
    sort: Order = "attention"
    skip: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        """Read a query."""
        skip = query.get("skip", "")
        return cls(
            q=query.get("q", "").strip(),
            team=query.get("team", ""),
            tag=query.get("tag", ""),
            state=next((one for one in get_args(State) if one == query.get("state")), None),
            sort=next((one for one in get_args(Order) if one == query.get("sort")), "attention"),
            skip=int(skip) if skip.isascii() and skip.isdecimal() and len(skip) < 8 else 0,
        )

    def query(self, **changed: object) -> str:
        """Return the query of an address that asks for the same, but for what is changed."""
        parts = {name: getattr(self, name) for name in self.__slots__} | changed
        kept = {name: value for name, value in parts.items() if value and (name, value) != ("sort", "attention")}
        return f"?{urlencode(kept)}" if kept else "?"

    @property
    def filters(self) -> bool:
        """Whether some models are left out."""
        return bool(self.q or self.team or self.tag or self.state)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a model needs a person, and where they look; ``path`` is quoted, below the service's own address."""

    tone: Tone
    text: str
    path: str


@dataclass(frozen=True, slots=True)
class Line:
    """One model as the page shows it: texts alone, so that two that are shown alike are equal."""

    name: str
    team: str
    tags: tuple[str, ...]
    version: str
    headline: Headline
    states: frozenset[str]
    reasons: tuple[Reason, ...]
    alerts: str
    measure: str
    value: float | None
    figure: str
    interval: str
    window: str
    n: int
    coverage: str
    arrived: datetime | None
    age: str
    waiting: int
    spark: Markup

    @property
    def news(self) -> str:
        """What is read aloud when it is new on the page."""
        return f"{self.name}: {'; '.join(one.text for one in self.reasons)}" if self.reasons else ""


def fleet_page(request: Request, views: Views, render: Render, now: datetime) -> Response:
    """Show all models, or those that who asks may see."""
    caller: Caller | None = getattr(request.state, "caller", None)
    minute = now.replace(second=0, microsecond=0)  # ages are told in minutes
    tag = tag_of(request, views.fleet_mark(), minute)
    if (same := unchanged(request, tag)) is not None:
        return same
    asked = Asked.of(request.query_params)
    rows = views.fleet(caller.models if caller is not None else ())
    lines = [(row, _line(row, minute)) for row in rows]
    found = _sorted([one for one in lines if _is_asked_for(*one, asked)], asked.sort)
    shown = [line for _, line in found[asked.skip : asked.skip + SHOWN]]
    starting = [one for one in rows if not one.predictions][:STARTING]
    return render(
        request,
        "fleet.html",
        tag=tag,
        asked=asked,
        groups=_groups(shown, asked),
        number=len(lines),
        found=len(found),
        counts=Counter(itertools.chain.from_iterable(line.states for _, line in lines)),
        teams=sorted({one.config.team for one in rows if one.config.team}),
        tags=sorted({tag for one in rows for tag in one.config.tags}),
        drawn=_drawn,
        states=STATES,
        orders=ORDERS,
        more=asked.query(skip=asked.skip + SHOWN) if len(found) > asked.skip + SHOWN else "",
        starting=[first_events(request, one.config, views.schema(one.name), one.waiting_events) for one in starting],
    )


def _groups(lines: Sequence[Line], asked: Asked) -> list[tuple[str, str, Sequence[Line]]]:
    """Return the lines in tables, each with an id and a heading."""
    if asked.sort != "attention":
        return [("models", "Models", lines)] if lines else []
    urgent = [one for one in lines if one.reasons]
    others = [one for one in lines if not one.reasons]
    named = (("urgent", STATES["attention"], urgent), ("others", "The others" if urgent else "Models", others))
    return [one for one in named if one[2]]


def _is_asked_for(row: FleetRow, line: Line, asked: Asked) -> bool:
    words = " ".join([line.name, line.team, *line.tags, row.task, line.version]).casefold()
    return (
        all(word in words for word in asked.q.casefold().split())
        and asked.team in ("", line.team)
        and (not asked.tag or asked.tag in line.tags)
        and (asked.state is None or asked.state in line.states)
    )


_Lines = list[tuple[FleetRow, Line]]
_RANKS = ("firing", "labels", "stale", "challenger", "pending", "unknown", "ok")


def _sorted(lines: _Lines, order: Order) -> _Lines:
    """Sort lines; those that are alike stay in the order of the configuration."""
    if order == "name":
        return sorted(lines, key=lambda one: one[0].name)
    if order == "event":  # who has never sent anything has been silent longest
        return sorted(lines, key=lambda one: (one[0].last_arrival is not None, one[0].last_arrival))
    if order == "coverage":
        return sorted(lines, key=lambda one: (one[0].course.coverage is None, one[0].course.coverage))
    if order == "alerts":
        return sorted(lines, key=lambda one: [-number for number in _by_severity(one[0].alerts)])
    return sorted(lines, key=lambda one: _urgency(*one))


def _urgency(row: FleetRow, line: Line) -> tuple[int, int]:
    worst = min((severity_rank(one.severity) for one in row.alerts), default=len(SEVERITIES))
    return worst, next(place for place, state in enumerate(_RANKS) if state in line.states)


@functools.lru_cache(_KEPT)
def _drawn(line: Line, base: str) -> Markup:
    """Draw a line of the table; most are as they were the last time."""
    return fragment("fleet_line.html", line=line, base=base)


def _counted(alerts: Iterable[FiringAlert]) -> str:
    """Say how many alerts fire of each severity; empty for none."""
    counts = zip(SEVERITIES, _by_severity(alerts), strict=True)
    return ", ".join(f"{number} {tone}" for tone, number in counts if number)


def _by_severity(alerts: Iterable[FiringAlert]) -> list[int]:
    counts = Counter(severity(one.severity) for one in alerts)
    return [counts[one] for one in SEVERITIES]


def _line(row: FleetRow, now: datetime) -> Line:
    course, zone = row.course, ZoneInfo(row.config.window.timezone)
    verdicts = None if course.start is None or not course.verdicts else course.verdicts
    said = headline_of(row, row.config.rules, verdicts, row.alerts)
    reasons = tuple(_reasons(row))
    return Line(
        name=row.name,
        team=row.config.team,
        tags=row.config.tags,
        version=row.version,
        headline=said,
        states=frozenset(_states(row, said, reasons)),
        reasons=reasons,
        alerts=_counted(row.alerts),
        measure=course.measure,
        value=course.value,
        figure=number_or_nothing(course.value),
        interval=from_to(course.low, course.high) if course.low is not None and course.high is not None else "",
        window="" if course.start is None or course.end is None else page_span(course.start, course.end, zone),
        n=course.n,
        coverage=percent_or_nothing(course.coverage),
        arrived=row.last_arrival,
        age="never" if row.last_arrival is None else _age(now - row.last_arrival),
        waiting=row.waiting_events,
        spark=_spark(course.measure, _judged_values(course), _level(row.config.rules, course.measure)),
    )


def _age(age: timedelta) -> str:
    return "now" if age < _MINUTE else f"{about(age)} ago"


def _reasons(row: FleetRow) -> Iterable[Reason]:
    """Yield why a model needs a person, the most urgent first."""
    for one in sorted(row.alerts, key=lambda one: severity_rank(one.severity)):
        taken = f" · {one.acknowledged_by} is on it" if one.acknowledged_by else ""
        yield Reason(severity(one.severity), f"Firing: {one.title}{taken}", f"/alerts/{url_segment(one.id)}")
    if row.challenger is not None:
        text = f"Challenger {row.challenger.version} waits for approval"
        yield Reason("warning", text, f"/models/{url_segment(row.name)}#challengers")


def _states(row: FleetRow, said: Headline, reasons: Sequence[Reason]) -> Iterable[State]:
    if reasons:
        yield "attention"
    if row.alerts:
        yield "firing"
    if row.challenger is not None:
        yield "challenger"
    if row.stale:
        yield "stale"
    if any(suspects_labels(one.title) for one in row.alerts):
        yield "labels"
    if not row.alerts:
        yield "pending" if said.tone == "pending" else "ok" if said.tone == "ok" else "unknown"


def _judged_values(course: Course) -> tuple[float | None, ...]:
    return () if course.judged is None else course.values[: course.judged + 1]


def _level(rules: Sequence[Rule], measure: str) -> float | None:
    return next((rule.threshold for rule in rules if rule.measure == measure), None)


@functools.lru_cache(_KEPT)
def _spark(measure: str, values: tuple[float | None, ...], level: float | None) -> Markup:
    known = [value for value in values if value is not None]
    if not known:
        return Markup("")
    low, high = (number_or_nothing(one) for one in (min(known), max(known)))
    label = f"{measure} in {len(values)} windows: from {low} to {high}"
    return sparks.sparkline(values, marked=[False] * len(values), level=level, label=label, from_zero=False)
