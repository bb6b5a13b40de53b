"""Render the report of a check as one self-contained page: inline styles and SVG, no scripts, no network."""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import structs

from driftline.charts import shapes
from driftline.charts.shapes import Scale
from driftline.charts.svg import coordinate
from driftline.lookalikes import shown_all
from driftline.profiles import NumericColumn
from driftline.reports import performance_html
from driftline.reports.bars import Bars, bars_of
from driftline.reports.drawn import Profiles, bars_for
from driftline.reports.words import (
    RULE_STATES,
    classes_of,
    cleaned,
    problems,
    segments_of,
    split_words,
)
from driftline.results.check import CheckReport, ComparedMeasure, ConfusionCount, Performance
from driftline.statistics import DISTANCES, TESTS
from driftline.templating import environment
from driftline.text import visible_lines
from driftline.text.numbers import percent, percents

if TYPE_CHECKING:
    import jinja2

QUIET_CHARTS = 50
HOVERED_CHARTS = 200
"""So many charts have a tooltip for each bar; the others have none, so that a page of many columns stays small."""

_WIDTH, _HEIGHT, _SMALL_WIDTH, _SMALL_HEIGHT = 300.0, 72.0, 120.0, 22.0
_SMALL_BARS = 12
_NAME_CELLS, _TITLE_SHOWN = 13, 120
_WHISKER, _WIDEST = 112.0, 1e300
_ALERTS_OPEN, _PARTS_OPEN = 20, 20


class Chart(NamedTuple):
    """Two distributions as paths: the reference's filled, the current one's outlined.

    ``bars`` are tooltips (x, width, words). Categories have ``rows`` instead of the paths: a short name, the full name,
    the widths of both bars, and both shares in words.
    """

    words: str
    reference: str = ""
    current: str = ""
    ends: tuple[str, str] | None = None
    bars: tuple[tuple[str, str, str], ...] = ()
    rows: tuple[tuple[str, str, str, str, str], ...] = ()


class Whisker(NamedTuple):
    """The low end, the value and the high end of both sides, as positions on an axis of `_WHISKER` units."""

    reference: tuple[float, ...]
    current: tuple[float, ...]


class Part(NamedTuple):
    """A segment or a class: its name, its measures in the order of the table's, and whether any is worse."""

    name: str
    measures: tuple[ComparedMeasure | None, ...]
    worse: tuple[bool, ...]


class Parts(NamedTuple):
    """Segments or classes as a table, the worse ones first."""

    title: str
    word: str
    names: tuple[str, ...]
    parts: tuple[Part, ...]


@functools.cache
def _template() -> jinja2.Template:
    return environment("driftline.reports", finalize=_shown).get_template("report.html")


def _shown(value: Any) -> Any:
    """Clean texts that come from the data, so that they cannot change the text around them; macros stay as they are."""
    return cleaned(value) if type(value) is str else value


def render(
    report: CheckReport,
    profiles: Profiles,
    errors: tuple[NumericColumn, NumericColumn] | None = None,
) -> str:
    """Return the page of a report; ``profiles`` are those of its columns, ``errors`` a regression's on both sides.

    Columns that drifted have a card each; the others are rows of a folded table, and only the first `QUIET_CHARTS` of
    them have a chart, so that a page of a thousand columns stays small.
    """
    columns = [*report.columns.values()]
    loud = [column for column in columns if column.drift.drifted]
    quiet = [column for column in columns if not column.drift.drifted]
    charts, small = {}, {}
    for at, column in enumerate(loud):
        if bars := bars_for(column, profiles):
            charts[column.column] = _chart(column.column, bars, hovered=at < HOVERED_CHARTS)
    for column in quiet[:QUIET_CHARTS]:
        if bars := bars_for(column, profiles, _SMALL_BARS):
            small[column.column] = _paths(column.column, bars, _SMALL_WIDTH, _SMALL_HEIGHT)
    performance = report.performance or {}
    confusion = _told_confusion(report.confusion or ())
    error_bars = bars_of(*errors) if errors is not None else None
    page = _template().render(
        report=report,
        columns=columns,
        loud=loud,
        told=shown_all(report.columns),
        quiet=quiet,
        charts=charts,
        small=small,
        whiskers=_whiskers(performance),
        problems=problems(performance),
        matrix=performance_html.matrix(confusion),
        mix_ups=performance_html.mix_ups(confusion, *_labelled(performance)),
        calibration=performance_html.calibration(report.calibration),
        gain=performance_html.gain(report.gains),
        errors=_paths("errors", error_bars, _WIDTH, _HEIGHT) if error_bars else None,
        measured=[column for column in columns if column.drift.distances],
        distances=tuple(DISTANCES),
        tests=tuple(TESTS),
        worse={name for name, measure in performance.items() if measure.worse},
        tables=[
            table
            for table in (
                _parts("Segments", "segment", segments_of(report)),
                _parts("Classes", "class", classes_of(report)),
            )
            if table.parts
        ],
        alerts_open=_ALERTS_OPEN,
        states=RULE_STATES,
        parts_open=_PARTS_OPEN,
        splits=[
            (one, split_words(one), shown_all(part.value for part in one.segments)) for one in report.segment_changes
        ],
    )
    return visible_lines(page)  # what is in drawings, too


def _told_confusion(confusion: Sequence[ConfusionCount]) -> list[ConfusionCount]:
    """Return the pairs of label and prediction, with class names that look alike in quotes."""
    told = shown_all(name for pair in confusion for name in (pair.label, pair.prediction))
    return [structs.replace(pair, label=told[pair.label], prediction=told[pair.prediction]) for pair in confusion]


# ---- distributions -----------------------------------------------------------------------------------------


def _chart(name: str, bars: Bars, *, hovered: bool) -> Chart:
    if bars.ends is None:
        told = shown_all(bars.names)
        rows = tuple(
            (
                _short(told[category]),
                told[category][:_TITLE_SHOWN],
                coordinate(100 * before / bars.tallest),
                coordinate(100 * now / bars.tallest),
                " → ".join(percents(before, now)),
            )
            for category, before, now in zip(bars.names, bars.reference, bars.current, strict=True)
        )
        return Chart(_chart_words(name, bars), rows=rows)
    chart = _paths(name, bars, _WIDTH, _HEIGHT)
    if not hovered:
        return chart
    width = _WIDTH / len(bars.names)
    return chart._replace(
        bars=tuple(
            (coordinate(at * width), coordinate(width), f"{title}: {' → '.join(percents(before, now))}")
            for at, (title, before, now) in enumerate(zip(bars.names, bars.reference, bars.current, strict=True))
        )
    )


def _paths(name: str, bars: Bars, width: float, height: float) -> Chart:
    """Draw both sides as steps of equal width on one base line; the reference's bars have gaps between them."""
    filled = shapes.bars(bars.reference, bars.tallest, width, height)
    outline = shapes.steps(bars.current, bars.tallest, width, height)
    return Chart(_chart_words(name, bars), filled, outline, bars.ends)


def _chart_words(name: str, bars: Bars) -> str:
    """Describe a chart for screen readers: where most rows of each side are."""
    most = []
    for side, shares in (("reference", bars.reference), ("current", bars.current)):
        share = max(shares)
        if share > 0:
            most.append(f"{side} most often {bars.names[shares.index(share)][:_TITLE_SHOWN]} ({percent(share)})")
    return f"{name[:_TITLE_SHOWN]}: {'; '.join(most) or 'no values'}"


def _short(name: str) -> str:
    """Shorten a name to the width of its column; wide characters, such as Chinese ones, count twice.

    >>> _short("rain"), _short("a long name of a category")
    ('rain', 'a long name …')
    """
    widths = [2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in name]
    if sum(widths) <= _NAME_CELLS:
        return name
    kept = sum(1 for total in itertools.accumulate(widths) if total < _NAME_CELLS)
    return f"{name[:kept]}…"


# ---- performance -------------------------------------------------------------------------------------------


def _whiskers(performance: Performance) -> dict[str, Whisker]:
    """Place the intervals of both sides of each measure on an axis that just holds both."""
    found = {}
    for name, measure in performance.items():
        before = measure.reference
        if before is None:
            continue
        sides = [[end for end in (side.low, side.value, side.high) if end is not None] for side in (before, measure)]
        ends = [*sides[0], *sides[1]]
        if len(ends) < 6:
            continue
        scale = Scale(min(ends), max(ends), 0.0, _WHISKER)
        if 0 < scale.high - scale.low < _WIDEST:
            found[name] = Whisker(*(tuple(map(scale.place, side)) for side in sides))
    return found


def _labelled(performance: Performance) -> tuple[int, int]:
    """Return how many labelled rows each side has, reference first."""
    accuracy = performance.get("accuracy")
    if accuracy is None:
        return 0, 0
    return 0 if accuracy.reference is None else accuracy.reference.n, accuracy.n


def _parts(title: str, word: str, parts: Sequence[tuple[str, Performance]]) -> Parts:
    """Make the table of some parts of the rows; a measure without any value has no column."""
    names = tuple(dict.fromkeys(name for _, some in parts for name, one in some.items() if one.value is not None))
    rows = [
        Part(
            where,
            tuple(measures.get(name) for name in names),
            tuple(name in measures and measures[name].worse for name in names),
        )
        for where, measures in parts
    ]
    return Parts(title, word, names, tuple(_worst_first(rows)))


def _worst_first(rows: Iterable[Part]) -> list[Part]:
    return sorted(rows, key=lambda part: -sum(part.worse))
