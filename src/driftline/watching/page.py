"""Render the page of ``driftline watch``: one chart for each measure, thresholds, alerts, and when it runs next."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from markupsafe import Markup

from driftline.charts.lines import Level, Point, Shade, line_chart
from driftline.rules import AlertState, Rule, Severity
from driftline.statistics.catalogue import CATALOGUE, lower_is_better
from driftline.statistics.measure import Measure
from driftline.templating import environment
from driftline.text import visible
from driftline.text.durations import length, written
from driftline.text.moments import page_moment
from driftline.text.numbers import count, exact, number
from driftline.watching.history import History, Past, PastAlert
from driftline.watching.schedule import FAILED

if TYPE_CHECKING:
    import jinja2

ZONE = ZoneInfo("UTC")
_SHOWN_VALUES = 10
_LATE = 1.5
_LEAST_REFRESH_SECONDS, _MOST_REFRESH_SECONDS = 2, 30


class Row(NamedTuple):
    """One value of a measure as the table shows it; ``state`` is breach, failed or empty."""

    at: datetime
    value: str
    interval: str
    state: str
    said: str


class Panel(NamedTuple):
    """A measure: its last value, its rules, its chart and its last values, the newest first.

    ``worse`` is the sign by which a rule on it would compare.
    """

    name: str
    worse: str
    value: str
    interval: str
    rules: tuple[tuple[str, str], ...]
    chart: Markup
    rows: tuple[Row, ...]


class Told(NamedTuple):
    """An alert as the page shows it."""

    title: str
    severity: str
    rule: str
    value: str
    since: datetime
    until: datetime | None


def page(history: History, target: str, now: datetime) -> str:
    """Return the whole page as HTML at a moment; ``target`` is what is watched, such as ``model.py:evaluate``."""
    watching = history.watching
    ruled = {one.rule.measure: one.verdict for one in watching.monitors if one.rule is not FAILED}
    seen = dict.fromkeys(measure for past in history.evaluations for measure in past.measures)
    waiting = {measure: verdict for measure, verdict in ruled.items() if measure not in seen}
    ordered = [*(measure for measure in seen if measure in ruled), *(one for one in seen if one not in ruled)]
    last = history.evaluations[-1] if history.evaluations else None
    return _template().render(
        model=visible(watching.model),
        version=visible(watching.version),
        name=visible(target),
        every=written(watching.every),
        state=_state(history),
        last=last,
        took=None if last is None else length(last.seconds),
        next=None if last is None else next_time(last, watching.every),
        due=last is not None and next_time(last, watching.every) <= now,
        counts=[
            ("Evaluations", count(watching.evaluations)),
            ("Failed", count(watching.failures)),
            ("Skipped", count(watching.skipped)),
        ],
        problem="" if last is None else visible(last.failure or last.problem),
        failed=last is not None and bool(last.failure),
        firing=[_told(one) for one in reversed(history.firing)],
        ended=[_told(one) for one in reversed(history.alerts) if one.resolved is not None],
        panels=[_panel(history, measure) for measure in ordered],
        waiting=[(visible(name), visible(verdict.reason if verdict else "")) for name, verdict in waiting.items()],
        left_out=history.left_out,
        kept=len(history.evaluations),
        dropped=watching.evaluations > len(history.evaluations),
        zone=ZONE,
        refresh=refresh_seconds(watching.every),
        style=Markup(_text("watch.css")),  # ours, and without what could end its element
        script=Markup(_text("watch.js")),
    )


def refresh_seconds(every: timedelta) -> int:
    """Return how often an open page asks again: ten times between two evaluations, within 2 and 30 seconds."""
    return round(min(max(every.total_seconds() / 10, _LEAST_REFRESH_SECONDS), _MOST_REFRESH_SECONDS))


def next_time(last: Past, every: timedelta) -> datetime:
    """Return when the next evaluation begins, from the last one: slots that a long evaluation missed are skipped.

    >>> noon = datetime(2026, 5, 1, 12)
    >>> next_time(Past(noon + timedelta(minutes=150), 9000, {}, frozenset()), timedelta(hours=1)).isoformat()
    '2026-05-01T15:00:00'
    """
    took = timedelta(seconds=last.seconds)
    return last.at - took + every * max(math.ceil(took / every), 1)


@functools.cache
def policy() -> str:
    """Return the page's Content-Security-Policy: its own style and script by their hashes, itself again, no more."""
    style, script = (
        base64.b64encode(hashlib.sha256(_text(name).encode()).digest()).decode() for name in ("watch.css", "watch.js")
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@functools.cache
def _text(name: str) -> str:
    return files("driftline.watching").joinpath("templates", name).read_text("utf-8")


@functools.cache
def _template() -> jinja2.Template:
    return environment("driftline.watching").get_template("watch.html")


# ---- state and alerts --------------------------------------------------------------------------------------


def _state(history: History) -> tuple[str, str]:
    """The state in a word for its tone, and in words."""
    if not history.evaluations:
        return "unknown", "Waiting for the first evaluation"
    firing = history.firing
    if firing:
        severe = any(one.monitor.rule.severity is Severity.PAGE for one in firing)
        return "page" if severe else "warning", "1 alert is firing" if len(
            firing
        ) == 1 else f"{len(firing)} alerts fire"
    pending = any(one.machine.state is AlertState.PENDING for one in history.watching.monitors)
    return ("warning", "A breach, not yet an alert") if pending else ("ok", "No alert")


def _told(alert: PastAlert) -> Told:
    rule, verdict = alert.monitor.rule, alert.verdict
    if rule is FAILED:
        return Told("Model evaluation failed", rule.severity.value, "", "", alert.fired, alert.resolved)
    value = "" if verdict.value is None else number(verdict.value)
    return Told(
        rule.title.rstrip("!"), rule.severity.value, visible(rule.expression), value, alert.fired, alert.resolved
    )


# ---- one measure -------------------------------------------------------------------------------------------


def _panel(history: History, measure: str) -> Panel:
    rules = [one for one in history.watching.monitors if one.rule.measure == measure]
    names = {one.rule.name for one in rules}
    found = next(past.measures[measure] for past in reversed(history.evaluations) if measure in past.measures)
    rows = [_row(past, measure, names) for past in reversed(history.evaluations[-_SHOWN_VALUES:])]
    return Panel(
        visible(measure),
        ">" if measure in CATALOGUE and lower_is_better(measure) else "<",
        number(found.value) if found.value is not None else "",
        _interval(found),
        tuple((visible(one.rule.expression), one.state.value) for one in rules),
        _chart(history, measure, [one.rule for one in rules]),
        tuple(rows),
    )


def _interval(found: Measure) -> str:
    if found.low is None or found.high is None:
        return ""
    return f"{number(found.low)} to {number(found.high)}, n = {count(found.n)}"


def _row(past: Past, measure: str, rules: set[str]) -> Row:
    found = past.measures.get(measure)
    state = "breach" if past.breaches & rules else "failed" if past.failure else ""
    if found is None or found.value is None:
        return Row(past.at, "–", "", state, visible(past.failure or past.problem or "did not come"))
    return Row(past.at, number(found.value), _interval(found), state, "")


def _chart(history: History, measure: str, rules: Sequence[Rule]) -> Markup:
    evaluations, every = history.evaluations, history.watching.every
    names = {rule.name for rule in rules}
    ends = [
        following.at if following.at - past.at <= every * _LATE + timedelta(seconds=past.seconds + following.seconds)
        else past.at + every
        for past, following in pairwise(evaluations)
    ]  # fmt: skip
    ends.append(evaluations[-1].at + every)
    points = [_point(past, end, measure, names) for past, end in zip(evaluations, ends, strict=True)]
    low, high = CATALOGUE[measure].range if measure in CATALOGUE else (-math.inf, math.inf)
    return line_chart(
        points,
        name=f"m{[*dict.fromkeys(one for past in evaluations for one in past.measures)].index(measure)}",
        label=f"{visible(measure)} over the last {count(len(points))} evaluations",
        zone=ZONE,
        levels=[Level(rule.threshold, f"alert {rule.comparison} {exact(rule.threshold)}") for rule in rules],
        shades=[
            Shade(
                one.fired,
                one.resolved or points[-1].end,
                one.monitor.rule.severity.value if one.resolved is None else "resolved",
                f"Alert: {visible(one.monitor.rule.expression)}",
            )
            for one in history.alerts
            if one.monitor.rule.name in names and (one.resolved is None or one.resolved > points[0].start)
        ],
        bounds=(low if math.isfinite(low) else None, high if math.isfinite(high) else None),
        height=200.0,
    )


def _point(past: Past, end: datetime, measure: str, rules: set[str]) -> Point:
    row, found = _row(past, measure, rules), past.measures.get(measure)
    said = row.said or f"{row.value}{f' ({row.interval})' if row.interval else ''}"
    return Point(
        past.at,
        max(end, past.at),
        None if found is None else found.value,
        None if found is None else found.low,
        None if found is None else found.high,
        f"{page_moment(past.at, ZONE)}: {said}",
        "breach" if row.state == "breach" else "judged",
    )
