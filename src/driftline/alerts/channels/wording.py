"""What channels have in common when they show an alert: texts that fit, numbers, facts, sentences."""

from __future__ import annotations

import re

from driftline.alerts.message import GOING_ON, AlertView, Event, Notice, Span, told
from driftline.rules.topic import CHANCE, STALENESS
from driftline.text import moments, visible

ENDED = (Event.RESOLVED, Event.CORRECTED)

NO_ALARM = (Event.TEST, Event.OVER)
"""What is said of no alert that anybody was or is to be alarmed about."""

MOST_SHOWN = 10
"""Notices of one message that people see in full; the others are counted."""

# Control signs, halves of signs, and what turns the direction of the text around it.
_UNWANTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_URL = re.compile(r"(?i:https?)://[^\s<>\"]{1,1990}", re.ASCII)


def cleaned(text: str) -> str:
    """Clean text of others so that it can be part of a message: lines of visible characters."""
    return _UNWANTED.sub("", re.sub(r"\r\n?|[\u2028\u2029]", "\n", text))


def shorten(text: str, limit: int) -> str:
    """Shorten a text to ``limit`` UTF-16 units (at most as many characters), with an ellipsis where it was cut.

    >>> shorten("drizzle", 5)
    'driz…'
    """
    units = text.encode("utf-16-le", "replace")
    if len(units) <= 2 * limit:
        return text
    return units[: 2 * (limit - 1)].decode("utf-16-le", "ignore") + "…"


def line(text: str, limit: int) -> str:
    """Return a text as one line that is not empty: cleaned, white space collapsed, cut to ``limit`` UTF-16 units.

    >>> line("two\\n  lines", 80)
    'two lines'
    """
    return shorten(" ".join(cleaned(text).split()), limit) or "–"


def link(url: str) -> str:
    """Return an address that can be shown as a link, or nothing."""
    return url if _URL.fullmatch(url) else ""


def runbook(notice: Notice) -> str:
    """Return where people read what to do about an alert that goes on; nothing where nobody has said."""
    return link(notice.alert.docs) if notice.event in GOING_ON else ""


def span(window: Span, timezone: str = "UTC") -> str:
    """Return a span in words, in a model's time zone."""
    return moments.span(window.start, window.end, timezone)


def facts(notice: Notice) -> list[tuple[str, str]]:
    """Return the numbers of an alert, each with its name: measure, threshold, window, n; what was corrected to what.

    Of an alert that goes on they are those of the newest window, beside what it was when it fired.
    """
    alert, latest = notice.alert, notice.alert.latest
    said, measure = told(alert), line(alert.measure, 200)
    if alert.measure == STALENESS:
        return [("No event for", said.value), ("Threshold", said.threshold), ("Since", _since(alert))]
    if alert.measure == CHANCE:
        chance = f"{said.value} times in a budget's period (an alarm is below {said.threshold})"
        return [("By chance", chance), ("Window", span(alert.window, alert.timezone))]
    value = f"{said.value}{said.interval}{said.bound}"
    found = [("Measure", f"{measure} {value if latest is None else said.latest + said.latest_interval}")]
    if latest is not None:
        found.append(("When it fired", value))
    if notice.event is Event.CORRECTED:
        found.append(("As known now", said.value_now))
    found.append(("Threshold", said.threshold))
    shown = alert.span if notice.event is Event.OVER else alert.window if latest is None else latest.window
    found.append(("Window", span(shown, alert.timezone)))
    found.append(("n", str(alert.n if latest is None else latest.n)))
    return found


def _since(alert: AlertView) -> str:
    return moments.day_or_moment(alert.span.start, alert.timezone)


def sentences(notice: Notice) -> list[str]:
    """Return why an alert ended, or what changed and what did not; who has acknowledged it."""
    alert = notice.alert
    if notice.event is Event.OVER:  # one of many, and nobody has to act
        return []
    texts = [notice.reason] if notice.event in (*ENDED, Event.CHANGED) else []
    if notice.event not in ENDED and alert.findings:
        texts += alert.findings.sentences
    if alert.acknowledged is not None and notice.event not in ENDED:
        taken = alert.acknowledged
        texts.append(f"Acknowledged by {taken.by}{': ' if taken.reason else ''}{taken.reason}")
    texts = [visible(one) for one in texts]
    return [one for one in texts if one.strip()]
