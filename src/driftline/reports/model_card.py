"""A model card: what is known of one version of a model, for people (Mitchell et al. 2019). Markdown, or one page.

Nothing is made up: a section of which nothing is known says so.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from driftline.text.moments import day_or_moment, moment, span
from driftline.text.numbers import number_or_nothing

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True, slots=True)
class CardMeasure:
    """A measure with its 95 % interval, None where there is none, on n labelled rows."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CardRows:
    """Rows of a half-open span of event time."""

    what: str
    begin: datetime
    end: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class CardEvent:
    """Something that happened, by the clock."""

    at: datetime
    what: str
    why: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that is known of a version.

    ``measures`` are of the newest judged window that it answered in, ``window``; ``gates`` are name, verdict and reason
    of its contest, ``segments`` its segments there. ``drift`` are the columns that have drifted in that window.
    ``alerts`` went on in the windows that it has answered; None where it has answered in none. ``timezone`` is the
    model's, in which people read of event time.
    """

    model: str
    version: str
    task: str
    registered_at: datetime | None = None
    status: str = ""
    parent: str = ""
    code: str = ""
    rows: Sequence[CardRows] = ()
    signature: Sequence[tuple[str, str]] = ()
    files: Sequence[tuple[str, int, str]] = ()
    window: tuple[datetime, datetime] | None = None
    measures: Sequence[CardMeasure] = ()
    decision: str = ""
    reason: str = ""
    gates: Sequence[tuple[str, bool | None, str]] = ()
    segments: Sequence[tuple[str, float | None, float | None, int]] = ()
    drift: Sequence[str] = ()
    alerts: Sequence[CardEvent] | None = None
    history: Sequence[CardEvent] = field(default=())
    timezone: str = "UTC"


def markdown(card: ModelCard) -> str:
    """Write a card as Markdown."""
    return _template("model_card.md").render(card=card)


def html(card: ModelCard) -> str:
    """Write a card as one self-contained page."""
    return _template("model_card.html").render(card=card)


def _plain(text: object) -> str:
    """A text of others within Markdown: on one line, and no sign means anything."""
    line = " ".join(str(text).split())
    for sign in "\\`*_{}[]<>#|!~":
        line = line.replace(sign, f"\\{sign}")
    return line


@functools.cache
def _template(name: str) -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("driftline.reports"),
        autoescape=name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "plain": _plain,
        "moment": moment,
        "event_time": day_or_moment,
        "span": span,
        "number": number_or_nothing,
    }
    return environment.get_template(name)
