"""Render a backtest as one self-contained page: a timeline for each rule, inline styles, no scripts."""

from __future__ import annotations

import functools
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from driftline.charts.svg import coordinate
from driftline.rules.backtest import Backtest, RuleRecord
from driftline.templating import environment
from driftline.text import visible_lines

if TYPE_CHECKING:
    import jinja2

_WORDS = {"A": "alert", "b": "breach without an alert", "?": "not judged"}


class Stretch(NamedTuple):
    """Consecutive windows of one state: their place and width on an axis of 100 units, and a description."""

    x: str
    width: str
    state: str
    words: str


class Line(NamedTuple):
    """A rule with its timeline."""

    record: RuleRecord
    stretches: tuple[Stretch, ...]


def backtest_html(found: Backtest) -> str:
    """Return the page of a backtest, and of the one it is compared with, if there is one."""
    both = [found, *([] if found.against is None else [found.against])]
    page = _template().render(found=found, parts=[(one, [_line(record) for record in one.rules]) for one in both])
    return visible_lines(page)


def _line(record: RuleRecord) -> Line:
    scale, place, stretches = 100 / max(len(record.states), 1), 0, list[Stretch]()
    for state, letters in groupby(record.states):
        count = len(list(letters))
        if state in _WORDS:
            words = f"{count} window{'s' if count > 1 else ''}: {_WORDS[state]}"
            stretches.append(Stretch(coordinate(place * scale), coordinate(count * scale), state, words))
        place += count
    return Line(record, tuple(stretches))


@functools.cache
def _template() -> jinja2.Template:
    return environment("driftline.reports").get_template("backtest.html")
