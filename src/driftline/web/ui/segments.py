"""The page of a model's segments: which became worse, and what each adds to the change since the reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from markupsafe import Markup

from driftline.charts.sparks import shift_bar
from driftline.errors import UnknownNameError, UsageError
from driftline.events import Schema
from driftline.monitoring.options import ModelConfig
from driftline.statistics.segment_changes import ColumnChange, SegmentChange
from driftline.statistics.split import NO_SEGMENT
from driftline.text.moments import page_span
from driftline.text.numbers import signed
from driftline.views.segments import MOST_WINDOWS, SegmentsChanged
from driftline.web.ui.asked import below_a_day, field_of, number_of_windows, span_of
from driftline.web.ui.first_events import first_segments
from driftline.web.ui.rendering import Render, refused

CHOICES = (1, 7, 30, MOST_WINDOWS)
"""How many of the newest windows the page offers to put together."""

_TONES = {"worse": "breach", "no worse": "ok", "not judged": "nodata"}


class Views(Protocol):
    """What the page reads; `driftline.views.reader.Views` is one."""

    def model_config(self, model: str, /) -> ModelConfig:
        """Return the configuration of a model; raises `UnknownNameError` for an unknown one."""

    def schema(self, model: str, /) -> Schema | None:
        """Return the shape of a model's events; None where that is not known yet."""

    def segments_changed(
        self,
        model: str,
        /,
        *,
        measure: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        newest: int = 1,
    ) -> SegmentsChanged:
        """Compare the segments of some judged windows with the reference's."""


@dataclass(frozen=True, slots=True)
class Row:
    """A segment with its drawing and its changes in words; ``query`` shows its windows, empty where it has none."""

    change: SegmentChange
    tone: str
    query: str
    bar: Markup
    moved: str
    interval: str
    mix: str
    within: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column that tells segments apart."""

    change: ColumnChange
    rows: tuple[Row, ...]
    worse: int
    moved: str
    mix: str
    within: str


def segments_page(request: Request, views: Views, render: Render, model: str) -> Response:
    """Show the segments of a model that is known; for an address that asks for what cannot be, say so."""
    config = views.model_config(model)
    zone = ZoneInfo(config.window.timezone)
    names = ("start", "end", "windows", "measure")
    query = {name: value for name in names if (value := request.query_params.get(name, "").strip())}
    try:
        start, end = span_of(query, zone)
        newest = number_of_windows(query.get("windows"), usual=1, most=MOST_WINDOWS)
        found = views.segments_changed(model, measure=query.get("measure"), start=start, end=end, newest=newest)
    except (UsageError, UnknownNameError) as error:
        return refused(request, render, model, error)
    asked_span = start is not None or end is not None
    measure = {"measure": query["measure"]} if "measure" in query else {}
    return render(
        request,
        "segments.html",
        model=model,
        found=found,
        columns=[_column(one) for one in found.columns],
        span=page_span(found.start, found.end, zone) if found.start and found.end else "",
        choices=[
            (number, f"?{urlencode({'windows': number, **measure})}", not asked_span and number == newest)
            for number in CHOICES
        ],
        starts=field_of(found.start, zone),
        ends=field_of(found.end, zone),
        times=below_a_day(config),
        least=config.floors.rows,
        lines=None if config.columns.segments else first_segments(config, views.schema(model)),
    )


def _column(change: ColumnChange) -> Column:
    amounts = [abs(part) for one in change.segments for part in (one.mix, one.within) if part is not None]
    most, furthest = max(amounts, default=0.0), max((abs(one.change or 0.0) for one in change.segments), default=0.0)
    whole = max(abs(part or 0.0) for part in (change.change, change.mix, change.within))
    return Column(
        change,
        tuple(_row(change.column, one, most, furthest) for one in change.segments),
        sum(one.state == "worse" for one in change.segments),
        *(signed(part, whole) for part in (change.change, change.mix, change.within)),
    )


def _row(column: str, one: SegmentChange, most: float, furthest: float) -> Row:
    bar, mix, within = Markup(""), signed(one.mix, most), signed(one.within, most)
    if one.mix is not None and one.within is not None:
        label = f"{one.value}: mix {mix}, within {within}"
        bar = shift_bar([("mix", one.mix), ("within", one.within)], most, label=label)
    interval = ""
    if one.change_low is not None and one.change_high is not None:
        interval = f"{signed(one.change_low, furthest)} to {signed(one.change_high, furthest)}"
    query = "" if one.value == NO_SEGMENT else urlencode({"segment": f"{column}:{one.value}"})
    return Row(one, _TONES[one.state], query, bar, signed(one.change, furthest), interval, mix, within)
