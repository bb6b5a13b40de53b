"""One self-contained page of a check: inline styles and SVG, no scripts, nothing from the network."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2

from driftline.export.bars import bars_of
from driftline.profiles import Column
from driftline.statistics.drift import percent

QUIET_CHARTS = 50
_WHISKER, _WIDEST = 112.0, 1e300


class Whisker(NamedTuple):
    """The low end, the value and the high end of both sides, as places on an axis of `_WHISKER` units."""

    reference: tuple[float, ...]
    current: tuple[float, ...]


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("driftline.export", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent}
    return environment.get_template("report.html")


def render(document: Mapping[str, Any], profiles: Mapping[str, tuple[Column | None, Column | None]]) -> str:
    """The page of a report: its JSON document and the profiles of its columns.

    Columns that drifted have a card each, the others are folded; charts are drawn for those and for the first
    `QUIET_CHARTS` of these, so that a page of a thousand columns stays small.
    """
    loud = [column for column in document["columns"] if column["drift"] and column["drift"]["drifted"]]
    quiet = [column for column in document["columns"] if not (column["drift"] and column["drift"]["drifted"])]
    charts = {}
    for column in [*loud, *quiet[:QUIET_CHARTS]]:
        before, now = profiles.get(column["column"], (None, None))
        bars = bars_of(before, now, part=(column["drift"] or {}).get("part"))
        if bars is not None:
            charts[column["column"]] = bars
    return _template().render(report=document, loud=loud, quiet=quiet, charts=charts, whiskers=_whiskers(document))


def _whiskers(document: Mapping[str, Any]) -> dict[str, Whisker]:
    """Where the measures of performance lie on an axis from the least to the greatest of both sides' intervals."""
    found = {}
    for name, measure in (document["performance"] or {}).items():
        before = measure["reference"] if measure["reference"] and measure["reference"]["value"] is not None else None
        if measure["value"] is None or before is None:
            continue
        ends = [measure["low"], measure["high"], before["low"], before["high"]]
        low, span = min(ends), max(ends) - min(ends)
        if 0 < span < _WIDEST:
            sides = (
                [(side[key] - low) / span * _WHISKER for key in ("low", "value", "high")] for side in (before, measure)
            )
            found[name] = Whisker(*map(tuple, sides))
    return found
