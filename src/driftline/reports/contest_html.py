"""Render a contest as one self-contained page: inline styles and SVG, no scripts, nothing from the network."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from driftline.charts.shapes import Scale, polyline
from driftline.reports.words import told_segments
from driftline.rules.contest import Contest
from driftline.rules.contestants import less_is_better
from driftline.statistics.paired import Difference
from driftline.templating import environment
from driftline.text import visible_lines
from driftline.text.moments import day, moment
from driftline.text.numbers import decimals_of, fixed, numbers

if TYPE_CHECKING:
    import jinja2

_WIDTH, _HEIGHT, _PAD = 640.0, 160.0, 8.0
_DAYS_SECONDS = 2 * 86_400.0
"""From this length on, the ends of the time axis are written as days without hours."""


class Whisker(NamedTuple):
    """An interval on an axis of 100 units: name, positions of its low end, value and high end, and a description."""

    name: str
    low: float
    value: float
    high: float
    words: str
    side: str


class Lines(NamedTuple):
    """The measure of both models over time as points of polylines, and the labels at the ends of the axes."""

    champion: str
    challenger: str
    lowest: str
    highest: str
    begin: str
    end: str


def contest_html(contest: Contest) -> str:
    """Return the page of a contest."""
    names = [("All rows", contest.difference)]
    names += [(name, one.difference) for name, one in zip(told_segments(contest), contest.segments, strict=True)]
    whiskers, zero = _whiskers(names)
    page = _template().render(
        contest=contest,
        whiskers=whiskers,
        zero=zero,
        lines=_lines(contest),
        width=_WIDTH,
        height=_HEIGHT,
        less_is_better=less_is_better(contest.measure, contest.settings),
    )
    return visible_lines(page)


def _whiskers(found: Sequence[tuple[str, Difference]]) -> tuple[list[Whisker], float]:
    ends = [end for _, one in found for end in (one.low, one.high) if end is not None]
    if not ends:
        return [], 0.0
    scale = Scale(min(0.0, *ends), max(0.0, *ends), 0.0, 100.0)

    def place(value: float) -> float:
        return round(scale.place(value), 2)

    made = []
    for name, one in found:
        if one.value is None or one.low is None or one.high is None:
            continue
        digits = decimals_of(one.value, one.low, one.high)
        then, now = (fixed(value, digits) for value in (one.second, one.first))
        change, low, high = (fixed(value, digits, sign=True) for value in (one.value, one.low, one.high))
        words = f"{then} → {now}: {change} [{low}, {high}], n = {one.n}"
        side = "better" if one.low > 0 else "worse" if one.high < 0 else "open"
        made.append(Whisker(name, place(one.low), place(one.value), place(one.high), words, side))
    return made, place(0.0)


def _lines(contest: Contest) -> Lines | None:
    known = [one for one in contest.over_time if one.champion is not None and one.challenger is not None]
    if len(known) < 2:
        return None
    values = [value for one in known for value in (one.champion, one.challenger) if value is not None]
    least, most = min(values), max(values)
    across, down = Scale(0, len(known) - 1, _PAD, _WIDTH - _PAD), Scale(least, most, _HEIGHT - _PAD, _PAD)

    def points(of: str) -> str:
        return polyline((across.place(at), down.place(getattr(one, of))) for at, one in enumerate(known))

    told = day if known[-1].end - known[0].begin >= _DAYS_SECONDS else moment
    begin, end = (told(datetime.fromtimestamp(at, UTC)) for at in (known[0].begin, known[-1].end))
    lowest, highest = numbers(least, most)
    return Lines(points("champion"), points("challenger"), lowest, highest, begin, end)


@functools.cache
def _template() -> jinja2.Template:
    return environment("driftline.reports").get_template("contest.html")
