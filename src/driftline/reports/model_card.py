"""Render a model card (Mitchell et al. 2019) of one version of a model, as Markdown or as one page.

A section about which nothing is known says so.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from driftline.templating import environment

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
    """Something that happened, with its wall-clock time."""

    at: datetime
    what: str
    why: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about a version of a model.

    ``window`` is the newest judged window with its predictions; ``measures`` and ``drift`` (the columns that drifted)
    belong to that window. ``gates`` has name, verdict and reason of each gate of its contest, and ``segments`` belongs
    to that contest. ``alerts`` fired in windows with its predictions; None if there are no such windows. Event times
    are written in the model's ``timezone``.
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
    """Return a card as Markdown."""
    return _template("model_card.md").render(card=card)


def html(card: ModelCard) -> str:
    """Return a card as one self-contained page."""
    return _template("model_card.html").render(card=card)


def _plain(text: object) -> str:
    """Escape a text for Markdown: on one line, and without formatting characters."""
    line = " ".join(str(text).split())
    for sign in "\\`*_{}[]<>#|!~":
        line = line.replace(sign, f"\\{sign}")
    return line


@functools.cache
def _template(name: str) -> jinja2.Template:
    made = environment("driftline.reports")
    made.filters["plain"] = _plain
    return made.get_template(name)
