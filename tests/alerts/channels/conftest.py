"""Messages to send, hostile ones among them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from driftline.alerts.message import (
    Acknowledgement,
    AlertView,
    Event,
    Message,
    Notice,
    Point,
    Span,
    StepView,
    message_of,
)
from driftline.rules.findings import Findings

NOW = datetime(2026, 11, 23, 12, 30, 15, 250_000, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOW = Span(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))
FINDINGS = Findings(("rain",), ("wind",), (), ("Input rain changed: 52 % → 0 % (gone).", "Other inputs stable: wind."))
STATUS = {Event.RESOLVED: "resolved", Event.CORRECTED: "corrected"}


def view(**changes: Any) -> AlertView:
    """An alert on accuracy."""
    alert = AlertView(
        id="0123456789abcdef",
        model="churn",
        rule="accuracy-low",
        measure="accuracy",
        severity="page",
        title="Model accuracy below threshold!",
        status="firing",
        window=WINDOW,
        span=WINDOW,
        value=0.51234,
        low=0.45,
        high=0.57,
        n=1200,
        threshold=0.75,
        worst=0.5,
        value_now=0.51234,
        fired_at=NOW - timedelta(hours=1),
        ended_at=None,
        findings=FINDINGS,
        history=[],
    )
    return msgspec.structs.replace(alert, **changes)


def notice(event: Event = Event.FIRED, reason: str = "", url: str = "", **changes: Any) -> Notice:
    """What happened to an alert; an alert that ended did so just now."""
    ended = {"status": STATUS[event], "ended_at": NOW} if event in STATUS else {}
    alert = view(**(ended | changes))
    recent = [Point(WINDOW.end - DAY * back, 0.9 - 0.1 / (back + 1), 0.7, 0.95) for back in range(20, -1, -1)]
    return Notice(
        event=event, key=f"{alert.id}-{event}", said_at=NOW, reason=reason, alert=alert, recent=recent, url=url
    )


def message(*notices: Notice) -> Message:
    """A message of notices; of an alert that fires where none is given."""
    said = notices or (notice(),)
    return message_of(said, said[0].key)


HOSTILE = (
    "",
    " ",
    "<script>alert(1)</script>",
    "a & b &amp; <!channel> <@U1|x> | \"quoted\" 'too'",
    "two\r\nlines\nBcc: everybody@example.com\r\n\r\nbody",
    "[click](https://evil.example) **bold** `code` {{ 7 * 7 }} {% raw %} ${x}",
    "\x00\x07\x1b[31m\u202egnirts\u2028\u2066",
    "x" * 10_000,
    "&" * 10_000,
    "😀" * 6_000,
    '"\\' * 5_000,
    "\x01" * 10_000,
    "ü\n" * 5_000,
)
texts = st.sampled_from(HOSTILE) | st.text(max_size=60)
numbers = st.none() | st.floats() | st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, 0.75])
FIRST, LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
# One number: drawn as a year, a month and so on, moments were a third of what a message costs to make.
moments = st.integers(0, (LAST - FIRST) // TICK).map(lambda ticks: FIRST + ticks * TICK)
spans = st.builds(Span, moments, moments)
findings = st.builds(Findings, st.just(()), st.just(()), st.just(()), st.lists(texts, max_size=60).map(tuple))
links = st.sampled_from(["", "https://driftline.example/alerts/1?a=b&c=d|e", "https://x.example/" + "y" * 3000]) | texts
views = st.builds(
    AlertView,
    id=texts,
    model=texts,
    rule=texts,
    measure=texts,
    severity=st.sampled_from(["page", "warning", "info"]) | texts,
    title=texts,
    status=st.sampled_from(["firing", "resolved", "corrected"]),
    window=spans,
    span=spans,
    value=numbers,
    low=numbers,
    high=numbers,
    n=st.integers(0, 10**15),
    threshold=st.floats(),
    worst=numbers,
    value_now=numbers,
    fired_at=moments,
    ended_at=st.none() | moments,
    findings=st.none() | findings,
    history=st.lists(st.builds(StepView, moments, texts, texts), max_size=2),
    acknowledged=st.none() | st.builds(Acknowledgement, texts, moments, texts),
    muted=texts,
    docs=links,
)
notices = st.builds(
    Notice,
    event=st.sampled_from(Event),
    key=texts,
    said_at=moments,
    reason=texts,
    alert=views,
    recent=st.lists(st.builds(Point, moments, numbers, numbers, numbers), max_size=60),
    url=links,
)
messages = st.builds(message_of, st.lists(notices, min_size=1, max_size=60), texts)


def walk(document: Any) -> Iterator[dict[str, Any]]:
    """All objects in a document."""
    if isinstance(document, dict):
        yield document
        document = list(document.values())
    if isinstance(document, list):
        for one in document:
            yield from walk(one)


def units(text: str) -> int:
    """The length of a text as the services count it, where it is largest: in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2
